//! What a run did and what it cost.

mod depth_map;
mod phase;
mod route;
mod run_report;
mod sequence;
mod sequence_summary;
mod sequence_table;
mod usage;

pub use depth_map::DepthMap;
pub use phase::{LayerUsage, PhaseReport};
pub use route::{Ran, Route};
pub use run_report::{PhaseSummary, RunReport};
pub use sequence::{SequenceReport, Shared, Spent};
pub use sequence_summary::{SequenceSummary, WorkSummary};
pub use sequence_table::SequenceTable;
pub use usage::UsageHistogram;

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
