//! Training: gates and backbones, on burn's autodiff.
//!
//! - [`pass`] runs whole texts under a controller, whose gates ([`Decision::Gate`](crate::Decision::Gate)) gradients flow
//!   through; [`TrainingBatch`] says which tokens are prompt and which are to be learned.
//! - [`Trainer`] is the loop around any loss: `AdamW`, clipping, warm-up and cosine, accumulation, checkpoints that resume
//!   exactly, a log.
//! - [`LayerDropout`] and [`ExitLoss`] are `LayerSkip`'s recipe for models that can leave early.
//!
//! All noise derives from a seed and the step.

mod batch;
mod checkpoint;
mod early_exit;
mod error;
mod layer_dropout;
mod log;
mod optimizer;
mod parameters;
mod pass;
mod schedule;
#[cfg(test)]
mod tests;
mod trainer;

pub use batch::{TrainingBatch, TrainingItem};
pub use early_exit::ExitLoss;
pub use error::TrainingError;
pub use layer_dropout::LayerDropout;
pub use optimizer::AdamWOptions;
pub use pass::{LayerGate, PassOptions, TrainingPass, cross_entropy, pass};
pub use schedule::{LearningRate, Temperature};
pub use trainer::{StepLoss, StepPart, StepReport, Trainer, TrainerOptions};
