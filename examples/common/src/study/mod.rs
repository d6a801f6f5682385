//! The second experiment of arXiv 2410.20022 as one call: do hidden states help a router?
//!
//! [`Study::run`] trains the same router with several inputs
//! ([`RouterInput`](dynlayer::inference::controllers::RouterInput): hidden states, a constant, positions, embeddings,
//! hidden states of other tokens), at several prices of depth and with several seeds, and measures each by decoding,
//! without noise and with every skip real. The [`StudyReport`] holds quality and likelihood against layers per token
//! with confidence intervals, and compares hidden states with the constant.
//!
//! Implement [`StudyTask`] for your own data.
//!
//! # How inputs are compared
//!
//! Inputs are compared at equal depth. An input's points (means over items and seeds, one per price) and the full
//! model's make a curve of quality against layers: the upper convex hull of the points that no other dominates. A point
//! on the line between two settings is reached by drawing one of them at random for each sequence. The gain of one
//! input over another is the mean distance between the two curves over the depths that both reach. Intervals are
//! percentile bootstraps over items and seeds. Both are drawn with replacement, and the draws are the same for all
//! inputs, so that hard items do not blur differences. With few seeds, the part of an interval that is due to seeds is
//! underestimated.

mod curves;
mod error;
mod evaluation;
pub mod purposes;
mod report;
mod runs;
mod store;
mod task;
#[cfg(test)]
mod tests;

pub use error::StudyError;
pub use evaluation::{Evaluation, evaluate};
pub use report::{Comparison, Measure, StudyPoint, StudyReport, Verdict, signed};
pub use runs::{Study, StudyProgress, StudyRun};
pub use store::input_name;
pub use task::StudyTask;
