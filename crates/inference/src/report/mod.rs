//! Reports of runs: routes, counts of work, and times.

mod depth_map;
mod phase;
mod run_report;
mod sequence;
mod speculation;
mod summary;
mod text;

pub use crate::control::{Ran, Route};
pub use depth_map::DepthMap;
pub use phase::{LayerUsage, PhaseReport};
pub use run_report::RunReport;
pub use sequence::{SequenceReport, Shared, Spent};
pub use speculation::{SpeculationEstimate, SpeculationReport};
pub use summary::{PhaseSummary, SequenceSummary, WorkSummary};
pub use text::UsageHistogram;
