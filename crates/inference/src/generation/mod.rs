//! Generation and scoring of text, one pass per token.

mod error;
mod event;
mod fork;
mod generate;
mod options;
mod prompt;
mod score;
mod session;
mod text;

pub use error::GenerateError;
pub use event::{Stop, TokenEvent};
pub(crate) use fork::{ForkSettings, LaneSampling, Prefilled};
pub use generate::{Completion, Generation, generate};
pub use options::GenerateOptions;
pub(crate) use prompt::check as check_prompts;
pub use score::{ScoreItem, ScoreOptions, ScoredSequence, ScoredToken, Scores, score, score_batch};
