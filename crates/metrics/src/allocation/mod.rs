//! Exact allocation of one candidate to every sequence, from a table of measured qualities and costs.
//!
//! A *candidate* is a way of running the model, such as a controller, a depth or a route. [`Evidence`] holds the
//! quality and the cost of every candidate for every sequence. An [`Allocator`] gives each sequence one candidate: most
//! quality within a mean budget, least cost for a mean quality, or the whole [`Envelope`] of quality against budget.
//!
//! An allocation is an *oracle*: it chooses by the very scores that it is judged by. [`crate::baselines`] computes
//! the baselines that have to be reported with it.

mod allocator;
mod envelope;
mod error;
mod evidence;
mod knapsack;
mod result;
mod scaled;
#[cfg(test)]
mod tests;
mod unit;

pub use allocator::Allocator;
pub(crate) use allocator::Upgrade;
pub use envelope::{BudgetBound, Envelope, EnvelopePoint};
pub use error::AllocationError;
pub use evidence::{Cell, Column, Evidence, EvidenceError, Record};
pub use result::{Allocation, Proof};
