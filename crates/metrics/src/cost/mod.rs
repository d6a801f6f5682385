//! Cost of a run, as layers, floating-point operations and bytes moved, from plain counts and dimensions; and speed-up.
//!
//! Every formula is one line of [`Dimensions`], which also says what is counted and what is left out.

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
