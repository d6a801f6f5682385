//! Sessions, and generation and scoring of text in one call.

mod completion;
mod error;
mod event;
mod fork;
mod generate;
mod options;
mod prompt;
mod score;
mod session;
mod speculation;
mod text;
mod warm_up;

pub use completion::Completion;
pub use error::GenerateError;
pub use event::{Stop, TokenEvent};
pub(crate) use fork::Prefilled;
pub use generate::{Generation, generate};
pub use options::GenerateOptions;
pub(crate) use prompt::check as check_prompts;
pub use score::{ScoreItem, ScoreOptions, ScoredSequence, ScoredToken, Scores, score, score_batch, score_each};
pub use session::{LogitsHook, PassOrder, SequenceOptions, Session, SessionOptions, Taken};
pub use speculation::{Accept, DraftLength, Speculation};
pub use warm_up::{WarmUp, warm_up};
