//! Why a model cannot be loaded.

use super::WeightDtype;
use crate::config::ConfigError;
use crate::format::FormatError;
use crate::text::TextError;
use std::fmt;
use std::path::PathBuf;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The path is neither a folder nor a GGUF file.
    #[error("{path}: {found}; expected a folder with config.json and safetensors, or a .gguf file")]
    NotACheckpoint {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The container is broken or of an unsupported kind.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The configuration is broken or describes a model that cannot be run exactly.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer or the chat template is broken, or does not fit the model.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A small JSON file beside the weights is broken.
    #[error("{path}: not the JSON it should be")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A small file beside the weights cannot be read.
    #[error("{path}: cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// GGUF metadata describes a model that cannot be run exactly.
    #[error("{path}: {key} is {found}; supported: {supported}")]
    GgufField {
        /// The file.
        path: PathBuf,
        /// The metadata key or the tensor.
        key: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        supported: String,
    },
    /// The checkpoint's tensors are not those of the configuration.
    #[error("{path}: {mismatch}")]
    Tensors {
        /// The folder or file.
        path: PathBuf,
        /// Which.
        mismatch: Box<TensorMismatch>,
    },
    /// A weight is NaN or infinite.
    #[error("{path}: tensor {tensor} holds {count} values that are not finite")]
    NotFinite {
        /// The folder or file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many.
        count: usize,
    },
    /// Weights are too large for the chosen type.
    #[error("{path}: tensor {tensor} holds {count} values that do not fit {dtype}; load as f32")]
    Overflow {
        /// The folder or file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many.
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
    /// Expected, not there.
    pub missing: Vec<NamedShape>,
    /// There, not expected.
    pub unexpected: Vec<NamedShape>,
    /// There with another shape: what is there, and the expected shape.
    pub misshaped: Vec<(NamedShape, Vec<usize>)>,
}

/// A tensor's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedShape {
    /// The name, as in Hugging Face checkpoints.
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
