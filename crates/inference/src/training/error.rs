//! Errors of training.

use crate::control::ControllerError;
use crate::files::FileError;
use crate::generation::GenerateError;
use crate::parameters::DeviceReadError;
use crate::tokens::TokenProblem;
use dynlayer_model::AdapterError;
use std::path::PathBuf;

/// The error of a training that cannot begin or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A batch has no items.
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
    #[error("two items of a batch have the id {id}; ids must differ")]
    RepeatedId {
        /// The id.
        id: u64,
    },
    /// An option is out of its range.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        found: String,
        /// The allowed values.
        expected: &'static str,
    },
    /// A pass has no gate at a controlled token. The first and the last layer have no gate unless the router's ends are
    /// free ([`Ends::Free`](crate::controllers::Ends::Free)), and an answer of one token has no controlled token under
    /// [`ControlFrom::FirstGenerated`](crate::ControlFrom::FirstGenerated).
    #[error("no layer has a gate at any controlled token; at least one is needed")]
    NoGates,
    /// A layer to be skipped is not in the model.
    #[error("layer {layer} is to be skipped; the model has layers 0 to {}", n_layers.saturating_sub(1))]
    LayerOutOfRange {
        /// The layer.
        layer: usize,
        /// The number of layers of the model.
        n_layers: usize,
    },
    /// A weight of the module to be trained is kept as quantised blocks, which gradients do not reach.
    #[error("{weight} is kept as quantised blocks, which cannot be trained; load the model as f32")]
    Quantised {
        /// The first such weight.
        weight: String,
    },
    /// A loss or a gradient is not finite.
    #[error("step {step}: {what} is {value}; the training has diverged")]
    NotFinite {
        /// The step.
        step: u64,
        /// `the loss` or `the gradients' norm`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {what}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failure.
        what: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A checkpoint belongs to another training.
    #[error(
        "{}: belongs to a training that differs in {setting}: expected {expected}, found {found}; use another folder, \
         or remove this file",
        file.display()
    )]
    OtherTraining {
        /// The checkpoint.
        file: PathBuf,
        /// The first setting that differs, such as `options.seed` or `the first batch`.
        setting: String,
        /// The setting's value in this training; of contents, the digest.
        expected: String,
        /// The setting's value in the checkpoint.
        found: String,
    },
    /// The device did not deliver a number.
    #[error(transparent)]
    Device(#[from] DeviceReadError),
    /// The adapter does not fit the model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The controller refused the model or an item.
    #[error(transparent)]
    Controller(#[from] ControllerError),
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] GenerateError),
}

impl TrainingError {
    /// Returns the error of an option unless `ok`.
    pub(super) fn check(
        ok: bool,
        option: &'static str,
        found: impl std::fmt::Display,
        expected: &'static str,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self::Option { option, found: found.to_string(), expected }) }
    }
}
