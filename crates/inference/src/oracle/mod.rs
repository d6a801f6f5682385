//! The oracle: the best candidate for every sequence, measured, replayed and predicted.
//!
//! A *candidate* is a controller by name, such as `exit:5`. This module is the part of the oracle that needs a model:
//!
//! - [`OracleRun`] runs every candidate for every prompt, and gives a table of quality and cost, an
//!   [`Evidence`](dynlayer_metrics::allocation::Evidence);
//! - [`OracleController`] runs the choice that was made from the table;
//! - [`PromptPredictor`] learns to predict the choice from the prompt, [`PredictorTrial`] tests it on other prompts,
//!   and [`PredictorController`] runs it;
//! - [`Certified`] runs the candidate that a certificate names, on the model that it was issued for.
//!
//! The arithmetic in between is in [`dynlayer_metrics::allocation`], which chooses, and in
//! [`dynlayer_metrics::baselines`], which computes the baselines to compare an oracle with. An oracle is judged by the
//! same scores that it chooses by, so its result means nothing without them.
//!
//! ```
//! use dynlayer_inference::conformance::small_model;
//! use dynlayer_inference::controllers::UniformSkip;
//! use dynlayer_inference::oracle::{Candidate, Item, Measure, OracleController, OracleRun};
//! use dynlayer_metrics::allocation::Allocator;
//! use dynlayer_metrics::baselines::Comparison;
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("run.jsonl");
//!
//! let model = small_model(&dynlayer_model::Backend::Flex.device()?)?;
//! let items: Vec<Item> =
//!     (0..8u32).map(|i| Item { id: i.into(), prompt: vec![i, 7, 9], ..Item::default() }).collect();
//! let candidates = || vec![Candidate::full(), Candidate::new("uniform:2", || UniformSkip::new(2))];
//! let evidence = OracleRun::new(&model, candidates(), Measure::Agreement).run(&file, &items, |_| {})?.evidence()?;
//!
//! let allocation = Allocator::new(&evidence)?.most_quality(3.0)?;
//! println!("{}", Comparison::new(&evidence, 3.0).run()?);
//! let controller = OracleController::new(&evidence, &allocation, &candidates())?;
//! # let _: &dyn dynlayer_inference::Controller = &controller;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod certified;
mod predictor;
mod replay;
mod run;

pub use certified::{Certified, CertifiedError};
pub use predictor::{PredictorController, PredictorError, PredictorTrial, PromptPredictor, PromptStates};
pub use replay::{OracleController, ReplayError};
pub use run::{
    Candidate, Cost, Item, Measure, MeasuredCell, MeasuredItem, OracleError, OracleOptions, OracleProgress,
    OracleResults, OracleRun, Output, ScoringInput, Shard, ShardError,
};

/// A count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
