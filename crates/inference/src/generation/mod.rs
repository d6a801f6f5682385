//! Generating text, one pass per token.

mod control_from;
mod error;
mod event;
mod generate;
mod options;
mod prompt;
mod score;
mod session;
mod text;

pub use control_from::ControlFrom;
pub use error::GenerateError;
pub use event::{Stop, TokenEvent};
pub use generate::{Completion, Generation, generate};
pub use options::GenerateOptions;
pub use score::{ScoreItem, ScoreOptions, ScoredSequence, ScoredToken, Scores, score, score_batch};
#[cfg(feature = "autodiff")]
pub(crate) use session::dimensions;
