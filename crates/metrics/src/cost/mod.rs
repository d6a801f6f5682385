//! What a run cost: layers, floating-point operations and bytes moved, from plain counts and plain dimensions.
//!
//! Every formula is one line of [`Dimensions`]; what is counted and what is left out stands there.

mod counts;
mod dimensions;

pub use counts::Counts;
pub use dimensions::Dimensions;
