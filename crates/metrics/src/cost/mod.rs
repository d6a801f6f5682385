//! What a run cost: layers, floating-point operations and bytes moved, from plain counts and plain dimensions; and what
//! it gained.
//!
//! Every formula of a cost is one line of [`Dimensions`]; what is counted and what is left out stands there.

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
