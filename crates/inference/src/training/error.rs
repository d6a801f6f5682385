//! What can go wrong in training.

use crate::control::ControllerError;
use crate::generation::GenerateError;
use crate::tokens::TokenProblem;
use std::path::PathBuf;

/// Why a training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// There is nothing to learn from.
    #[error("no items; at least one is needed")]
    EmptyBatch,
    /// The model cannot run an item.
    #[error("item {id}: its {part} {problem}")]
    Item {
        /// The item's id.
        id: u64,
        /// `prompt`, `answer`, or `text` for both together.
        part: &'static str,
        /// The problem.
        problem: TokenProblem,
    },
    /// Two items of a batch have the same id.
    #[error("id {id} is there twice in a batch; ids must differ")]
    RepeatedId {
        /// The id.
        id: u64,
    },
    /// An option is out of its range.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// No gate counts, so there is nothing to learn from a pass: the first and the last layer have none unless they are
    /// free, and under [`ControlFrom::FirstGenerated`](crate::ControlFrom::FirstGenerated) an answer of one token has no
    /// controlled place.
    #[error("no layer has a gate at any controlled place; at least one is needed")]
    NoGates,
    /// A layer to be skipped is not in the model.
    #[error("layer {layer} is to be skipped; the model has layers 0 to {}", n_layers.saturating_sub(1))]
    LayerOutOfRange {
        /// The layer.
        layer: usize,
        /// Layers of the model.
        n_layers: usize,
    },
    /// A loss or a gradient is no longer a number.
    #[error("step {step}: {what} is {value}; the training has diverged")]
    NotFinite {
        /// The step.
        step: u64,
        /// `the loss` or `the gradients' norm`.
        what: &'static str,
        /// What it is.
        value: f64,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {what}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A checkpoint is not what it should be.
    #[error("{path}: {field} is {found}; expected {expected}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// A tensor or an entry of the metadata.
        field: String,
        /// What is there.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// A checkpoint is no readable safetensors file.
    #[error(transparent)]
    Format(#[from] dynlayer_model::format::FormatError),
    /// Tensors could not be put into a file.
    #[error("{path}: cannot be written as safetensors")]
    Serialize {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: safetensors::SafeTensorError,
    },
    /// The device did not deliver a number.
    #[error("reading {what} from the device failed: {reason}")]
    Device {
        /// What was read.
        what: String,
        /// What the device said.
        reason: String,
    },
    /// The controller refused the batch.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] GenerateError),
}

impl TrainingError {
    /// Refuses an option unless `ok`.
    pub(super) fn check(
        ok: bool,
        option: &'static str,
        found: impl std::fmt::Display,
        expected: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self::Option { option, found: found.to_string(), expected }) }
    }
}
