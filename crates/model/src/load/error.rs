//! Errors of loading.

use crate::config::ConfigError;
use crate::device::WeightDtype;
use crate::format::FormatError;
use crate::text::TextError;
use std::fmt;
use std::path::PathBuf;

/// An error in opening or loading a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The path is neither a folder nor a GGUF file.
    #[error("{path}: {found}; expected a folder with config.json and safetensors, or a .gguf file")]
    NotACheckpoint {
        /// The path.
        path: PathBuf,
        /// The kind of object at the path, in words.
        found: &'static str,
    },
    /// The safetensors or GGUF file is invalid or of an unsupported kind.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The configuration is invalid or describes a model that this crate cannot run exactly.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer or the chat template is invalid, or does not fit the model.
    #[error(transparent)]
    Text(#[from] TextError),
    /// GGUF metadata describes a model that this crate cannot run exactly.
    #[error("{path}: {key} is {found}; supported: {supported}")]
    GgufField {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// Its value.
        found: String,
        /// The supported values, in words.
        supported: String,
    },
    /// The checkpoint's tensors are not those that its configuration requires.
    #[error("{path}: {mismatch}")]
    Tensors {
        /// The folder or file.
        path: PathBuf,
        /// The missing, unexpected and misshaped tensors.
        mismatch: Box<TensorMismatch>,
    },
    /// A weight is NaN or infinite.
    #[error("{path}: tensor {tensor} holds {count} values that are not finite")]
    NotFinite {
        /// The folder or file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The number of such values.
        count: usize,
    },
    /// Some weights are too large for the chosen type.
    #[error("{path}: tensor {tensor} holds {count} values that do not fit {dtype}; load as f32")]
    Overflow {
        /// The folder or file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The number of such values.
        count: usize,
        /// The chosen type.
        dtype: WeightDtype,
    },
    /// The device cannot compute with the chosen type.
    #[error("the device {device} does not support weights of type {dtype}; use f32")]
    Dtype {
        /// The device.
        device: String,
        /// The chosen type.
        dtype: WeightDtype,
    },
}

/// The tensors that a checkpoint and its configuration disagree about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorMismatch {
    /// Expected tensors that the checkpoint lacks.
    pub missing: Vec<NamedShape>,
    /// Tensors of the checkpoint that the configuration does not provide for.
    pub unexpected: Vec<NamedShape>,
    /// Tensors of a wrong shape: name and shape in the checkpoint, then the expected shape.
    pub misshaped: Vec<(NamedShape, Vec<usize>)>,
}

/// A tensor's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedShape {
    /// The name in Hugging Face checkpoints; for a GGUF tensor that has none, the name in the file.
    pub name: String,
    /// The shape, row-major.
    pub shape: Vec<usize>,
}

impl TensorMismatch {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty()
    }
}

impl fmt::Display for NamedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tensors do not match the configuration")?;
        for (what, tensors) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            for tensor in tensors {
                write!(f, "\n  {what}: {tensor}")?;
            }
        }
        for (found, expected) in &self.misshaped {
            write!(f, "\n  wrong shape: {found}, expected {expected:?}")?;
        }
        Ok(())
    }
}
