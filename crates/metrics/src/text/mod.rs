//! Quality of text: ROUGE, exact match, token F1.
//!
//! Scores are per item; [`crate::statistics::Bootstrap`] computes their mean with a confidence interval.

mod answer;
mod corpus;
mod error;
mod lcs;
mod marks;
mod ngrams;
mod porter;
mod rouge;
mod score;
mod summary_lcs;
mod tokenize;
mod vocabulary;

pub use answer::{exact_match, normalize_answer, token_f1};
pub use corpus::{RougeIntervals, ScoreIntervals, aggregate_rouge, aggregate_scores};
pub use error::TextError;
pub use rouge::{Rouge, RougeScores, RougeVariant};
pub use score::Score;
