//! What a run did and what it cost.

mod route;
mod run_report;
mod work;

pub use route::{Ran, Route};
pub use run_report::{LayerTime, PhaseReport, RunReport, SequenceReport};
pub use work::Work;
