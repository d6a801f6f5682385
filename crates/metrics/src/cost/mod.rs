//! Cost of a run in layers, floating-point operations and bytes moved, computed from counts and dimensions, and the
//! speed-up of one method over another.
//!
//! The formulas are short methods of [`Dimensions`], whose documentation lists the work that is counted and the work that
//! is left out.

mod acceptance;
mod counts;
mod dimensions;
mod speed_up;
mod summary;

pub use acceptance::Acceptance;
pub use counts::Counts;
pub use dimensions::Dimensions;
pub use speed_up::SpeedUp;
pub use summary::{CostSummary, Usage};
