//! Speculation: the controller drafts tokens, and the full model checks several of them in one pass.
//!
//! `options` are its settings, `pace` decides how many tokens to draft, from what `times` and `acceptance` estimate.
//! The rounds themselves are a session's (`session/round.rs`).

mod acceptance;
mod options;
mod pace;
mod times;

pub use options::{Accept, DraftLength, Speculation};
pub(super) use pace::{Pace, Round, RowResult};

/// The factor by which what was measured is multiplied at each new measurement, so that it counts half after `half_life`.
fn decay(half_life: f64) -> f64 {
    (-1.0 / half_life).exp2()
}
