//! What must stand beside an oracle, and what real controllers lose against it.

mod bootstrap;
mod curve;
mod error;
mod fixed;
mod null;
mod outcome;
mod report;
mod run;

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the same numbers computed the same way, or exact in binary")]
mod tests;

pub use bootstrap::{Bootstrap, Interval};
pub use error::ControlsError;
pub use null::NullDepth;
pub use outcome::Outcome;
pub use report::{ControlRow, ControllerRow, Controls, StaticRow};
pub use run::ControlsRun;
