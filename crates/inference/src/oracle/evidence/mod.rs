//! What was measured: sequences by candidates.

mod builder;
mod csv;
mod error;
mod jsonl;
mod record;
mod table;

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "numbers that must come back as they were")]
mod tests;

pub use builder::EvidenceBuilder;
pub use error::{EvidenceError, Place};
pub use record::Record;
pub use table::{Cell, Column, Evidence};
