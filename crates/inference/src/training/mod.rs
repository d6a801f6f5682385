//! Training on burn's autodiff: learned gates, and models that work with fewer layers.
//!
//! - [`pass`] runs whole texts under a controller, with gradients through the states and through the controller's gates
//!   ([`Decision::Gate`](crate::Decision::Gate)). A [`TrainingBatch`] holds prompts and the answers to be learned.
//! - [`Trainer`] is a training loop for any loss: `AdamW`, gradient clipping, a learning rate that warms up and falls
//!   along a cosine, gradient accumulation, a log, and checkpoints from which a training resumes exactly.
//! - [`RouterTraining`] trains learned gates with a cost of depth ([`DepthLoss`]), alone or together with the model.
//! - [`SkipTuning`] fine-tunes a model that will skip some of its layers.
//! - [`AdapterTuning`] trains an adapter of a few megabytes that makes a model work with fewer layers.
//! - [`LayerDropout`] and [`ExitLoss`] are `LayerSkip`'s recipe for models that can exit early.
//!
//! All noise derives from a seed and the step.

mod adapter_tuning;
mod batch;
mod checkpoint;
mod depth_loss;
mod early_exit;
mod error;
mod folder;
mod layer_dropout;
mod optimizer;
mod pass;
mod router_training;
mod schedule;
mod skip_tuning;
mod teacher;
#[cfg(test)]
mod tests;
mod trainer;
mod weights;

pub use adapter_tuning::{AdapterTrainer, AdapterTuning, TunedDepth};
pub use batch::{TrainingBatch, TrainingItem};
pub use depth_loss::{DepthLoss, gated_depth};
pub use early_exit::ExitLoss;
pub use error::TrainingError;
pub use folder::TrainingFolder;
pub use layer_dropout::LayerDropout;
pub use optimizer::AdamWOptions;
pub use pass::{PassOptions, TrainingPass, pass};
pub use router_training::RouterTraining;
pub use schedule::{LearningRate, Temperature};
pub use skip_tuning::SkipTuning;
pub use trainer::{StepLoss, StepPart, StepReport, Trainer, TrainerOptions};
