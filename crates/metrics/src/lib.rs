//! Metrics for text generation and dynamic depth: quality of text, similarity of tensors, cost, statistics, and exact
//! allocation within a budget.
//!
//! Part of dynlayer, whose models skip layers while they generate. The crate measures the quality that such a model
//! loses, the cost that it saves, and the uncertainty of both. It can be used without the rest of dynlayer: its input
//! is text, burn tensors and plain numbers, and no signature mentions a model or an engine.
//!
//! # Score texts
//!
//! [`text::Rouge`] compares an output with a reference, and returns the same scores as Google's rouge-score.
//! [`text::exact_match`] and [`text::token_f1`] score short answers. Scores are per item, and
//! [`statistics::Bootstrap`] computes their mean with a confidence interval:
//!
//! ```
//! use dynlayer_metrics::statistics::Bootstrap;
//! use dynlayer_metrics::text::Rouge;
//!
//! let pairs = [
//!     // reference, output
//!     ("the cat sat on the mat", "the cat sat"),
//!     ("a dog ran home", "the dogs ran home"),
//!     ("it rains", "snow falls"),
//! ];
//! let rouge = Rouge::stemmed(); // "dogs" equals "dog"
//! let f1: Vec<f64> = pairs.iter().map(|(reference, output)| rouge.score(reference, output).rouge_l.f1).collect();
//! assert_eq!(f1[1..], [0.75, 0.0]);
//!
//! let mean = Bootstrap::new(7).mean(&f1)?; // 95 % from 1,000 resamples, with seed 7
//! println!("ROUGE-L {:.3} [{:.3}, {:.3}]", mean.estimate, mean.low, mean.high);
//! # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
//! ```
//!
//! [`text::aggregate_rouge`] does this for all variants of ROUGE, and [`statistics::paired_bootstrap`] tests the
//! difference between two methods on the same items.
//!
//! # Allocate a budget
//!
//! Suppose that every prompt was answered by several *candidates*, such as different depths, and that the quality and
//! the cost of each answer were measured. [`allocation::Allocator`] then chooses one candidate for every prompt (in the
//! API: for every *sequence*) so that mean quality is highest within a mean cost. The result is optimal, with a
//! [`Proof`](allocation::Proof), or within a proven gap of the optimum if the search would take too long.
//!
//! Such a choice is an *oracle*: it knows the scores that it is judged by, so a part of its gain is luck.
//! [`baselines::Comparison`] computes it together with baselines that show how much:
//!
//! ```
//! use dynlayer_metrics::allocation::{Allocator, Evidence, Record};
//! use dynlayer_metrics::baselines::Comparison;
//!
//! // Two candidates for 40 prompts: an exit after two layers, and all eight. Every other prompt needs all of them.
//! let evidence = Evidence::new((0..40).flat_map(|prompt| {
//!     let early = if prompt % 2 == 0 { 0.0 } else { 1.0 };
//!     [Record::new(prompt, "exit:2", early, 2.0), Record::new(prompt, "full", 1.0, 8.0)]
//! }))?;
//!
//! // With five layers on average, the oracle spends the full depth on the prompts that need it.
//! let oracle = Allocator::new(&evidence)?.most_quality(5.0)?;
//! assert_eq!((oracle.mean_quality, oracle.mean_cost), (1.0, 5.0));
//! assert_eq!(oracle.counts(&evidence), [20, 20]); // prompts with "exit:2" and with "full"
//! assert!(oracle.is_optimal());
//!
//! // Choices that ignore the prompt reach less within the same budget.
//! let baselines = Comparison::new(&evidence, 5.0).run()?;
//! let single = baselines.best_static.as_ref().ok_or("no candidate within the budget")?;
//! assert_eq!((single.candidate.as_str(), single.row.quality.estimate), ("exit:2", 0.5));
//! let mix = baselines.best_mix.ok_or("no candidate within the budget")?;
//! assert_eq!(mix.quality.estimate, 0.75); // each prompt draws one of the two candidates
//! println!("{baselines}"); // the whole table, with confidence intervals
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The scores above have no noise. With real scores, also measure the quality twice, independently
//! ([`Record::halves`](allocation::Record::halves)), and the quality of random routes
//! ([`Comparison::null`](baselines::Comparison::null)). [`baselines`] explains why.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | the root | [`Grid`], a table of numbers such as one per layer and token; `TensorError` (feature `tensors`) |
//! | [`text`] | ROUGE, exact match and token F1 |
//! | `distributions` | divergence, agreement, entropy, likelihood, perplexity of next tokens (feature `tensors`) |
//! | `hidden` | similarity of hidden states, and the influence of each layer (feature `tensors`) |
//! | [`cost`] | layers, floating-point operations and bytes moved, from counts of what ran; speed-up |
//! | [`frontier`] | Pareto fronts of quality against cost, the area under them, hypervolume |
//! | [`statistics`] | bootstrap intervals, a paired test, and corrections for choosing the best of several |
//! | [`allocation`] | the best candidate for every sequence within a budget: the oracle |
//! | [`baselines`] | the results that an oracle has to be compared with |
//! | [`certificate`] | guarantees for the choice of a controller by measured losses |
//! | [`random`] | independent random generators from one seed |
//! | [`output`] | results as CSV and JSON |
//! | `plot` | curves, heat maps and histograms as SVG and PNG (feature `plot`) |
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tensors` | yes | metrics of burn tensors, and the dependency on burn |
//! | `plot` | | plots, and the dependencies on plotters and png |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact"))]

pub mod allocation;
pub mod baselines;
pub mod certificate;
pub mod cost;
#[cfg(feature = "tensors")]
pub mod distributions;
pub mod frontier;
mod grid;
#[cfg(feature = "tensors")]
pub mod hidden;
mod numbers;
pub mod output;
#[cfg(feature = "plot")]
pub mod plot;
pub mod random;
pub mod statistics;
#[cfg(feature = "tensors")]
mod tensors;
pub mod text;

pub use grid::Grid;
#[cfg(feature = "tensors")]
pub use tensors::TensorError;
