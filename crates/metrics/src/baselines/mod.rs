//! Baselines that an oracle has to be compared with.
//!
//! An oracle chooses by the very scores that it is judged by. The quality of one output is noisy: two outputs of the
//! same depth differ, and the best of `K` scores is above their mean even if nothing that was varied matters. The best
//! of `K` independent normal scores of standard deviation `s` is on average up to `s sqrt(2 ln K)` above their mean;
//! with 24 scores it is 1.95 `s`. So an oracle over 24 candidates gains even on pure noise, and its gain alone proves
//! nothing.
//!
//! A [`Comparison`] therefore also computes, as [`Baselines`]:
//!
//! - the *null oracle*: the best of as many random routes per depth as there are candidates. It has as many choices as
//!   the oracle, but among routes without any design;
//! - the *cross-fitted oracle*: chosen on one half of the score, judged on the other. On pure noise it gains nothing;
//! - the *label-free oracle*: chosen by the similarity to the full model's output, judged by the reference;
//! - the best *single candidate* for all sequences within the same budget;
//! - the *best mix* of two candidates, between which each sequence draws at random, within the same budget;
//! - the oracle's choices *dealt* to the sequences at random: the same candidates, independent of the sequence;
//! - confidence intervals, since another sample of sequences would give other numbers.
//!
//! Only the part of an oracle's gain that exceeds the null oracle's gain and remains in the cross-fitted oracle is
//! evidence that sequences need different candidates.
//!
//! ```
//! use dynlayer_metrics::allocation::{Evidence, Record};
//! use dynlayer_metrics::baselines::Comparison;
//! use rand::{Rng, SeedableRng};
//!
//! // Depth does not matter here: every score is noise.
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
//! let mut noise = || rng.random::<f64>() - 0.5;
//! let evidence = Evidence::new((0..300).flat_map(|sequence| (1..=24).map(move |depth| (sequence, depth))).map(
//!     |(sequence, depth)| {
//!         let halves = [noise(), noise()];
//!         let quality = (halves[0] + halves[1]) / 2.0;
//!         let name = format!("uniform:{depth}");
//!         Record { halves: Some(halves), ..Record::new(sequence, name, quality, f64::from(depth)) }
//!     },
//! ))?;
//! let baselines = Comparison::new(&evidence, 12.0).run()?;
//! let cross_fitted = baselines.cross_fitted.ok_or("there are halves")?;
//! assert!(baselines.oracle.quality.low > 0.3, "the oracle gains");
//! assert!(cross_fitted.quality.covers(0.0), "but only by luck");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blind;
mod comparison;
mod curve;
mod error;
mod null;
mod outcome;
mod report;
mod resampled;
#[cfg(test)]
mod tests;

pub use comparison::Comparison;
pub use error::ComparisonError;
pub use null::NullDepth;
pub use outcome::Outcome;
pub use report::{Baselines, ComparisonRow, ControllerRow, StaticRow};
