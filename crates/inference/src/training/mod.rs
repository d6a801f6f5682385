//! Training: gates and backbones, on burn's autodiff.
//!
//! - [`pass`] runs whole texts under a controller, whose gates ([`Decision::Gate`](crate::Decision::Gate)) gradients flow
//!   through; [`TrainingBatch`] says which tokens are prompt and which are to be learned.
//! - [`Trainer`] is the loop around any loss: `AdamW`, clipping, warm-up and cosine, accumulation, checkpoints that resume
//!   exactly, a log.
//! - [`RouterTraining`] trains learned gates, with what depth costs ([`DepthLoss`]), for a model that stays as it is or
//!   together with it; [`SkipTuning`] fine-tunes a model to do without some layers.
//! - [`study`] is the question whether hidden states help a router, as one call.
//! - [`LayerDropout`] and [`ExitLoss`] are `LayerSkip`'s recipe for models that can leave early.
//!
//! All noise derives from a seed and the step.

mod batch;
mod checkpoint;
mod depth_loss;
mod early_exit;
mod error;
mod folder;
mod layer_dropout;
mod log;
mod optimizer;
mod parameters;
mod pass;
mod router_training;
mod schedule;
mod skip_tuning;
pub mod study;
#[cfg(test)]
mod tests;
mod trainer;

pub use batch::{TrainingBatch, TrainingItem};
pub use depth_loss::{DepthLoss, gated_depth};
pub use early_exit::ExitLoss;
pub use error::TrainingError;
pub use folder::TrainingFolder;
pub use layer_dropout::LayerDropout;
pub use optimizer::AdamWOptions;
pub use pass::{LayerGate, PassOptions, TrainingPass, cross_entropy, pass};
pub use router_training::{Joint, RouterLoss, RouterTraining};
pub use schedule::{LearningRate, Temperature};
pub use skip_tuning::SkipTuning;
pub use trainer::{StepLoss, StepPart, StepReport, Trainer, TrainerOptions};
