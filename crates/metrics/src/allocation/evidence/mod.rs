//! The table of sequences by candidates, in memory and in files.

mod builder;
mod csv;
mod error;
mod jsonl;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub use error::EvidenceError;
pub use record::Record;
pub use table::{Cell, Column, Evidence};
