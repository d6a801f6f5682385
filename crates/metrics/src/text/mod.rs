//! Quality of text: ROUGE, exact match, token F1.
//!
//! Scores are per item; [`crate::statistics::Bootstrap`] computes their mean with a confidence interval:
//!
//! ```
//! use dynlayer_metrics::statistics::Bootstrap;
//! use dynlayer_metrics::text::Rouge;
//!
//! let pairs = [("the cat sat", "the cat sat"), ("a dog ran", "the dog ran"), ("it rains", "snow")];
//! let f1: Vec<f64> = pairs.iter().map(|(reference, text)| Rouge::plain().score(reference, text).rouge_l.f1).collect();
//! let mean = Bootstrap::new(7).mean(&f1)?;
//! assert!(mean.low <= mean.estimate && mean.estimate <= mean.high);
//! # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
//! ```

mod answer;
mod corpus;
mod error;
mod lcs;
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
