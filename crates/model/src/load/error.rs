//! Errors of loading.

use super::hf_names::HEAD;
use crate::config::ConfigError;
use crate::device::WeightDtype;
use crate::files::shorten;
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
    /// The folder holds no checkpoint that can be read, but something else.
    #[error("{path}: {found}; {instead}")]
    OtherFolder {
        /// The folder.
        path: PathBuf,
        /// The folder's content, in words, with the names of files.
        found: String,
        /// The advice for the user.
        instead: &'static str,
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
    /// There is no LoRA adapter at the path.
    #[error("{path}: {found}; expected a folder with adapter_config.json and adapter_model.safetensors, as peft saves")]
    NotAnAdapter {
        /// The path.
        path: PathBuf,
        /// The kind of object at the path, in words.
        found: String,
    },
    /// The description of an adapter cannot be parsed.
    #[error("{path}: not the description of an adapter, as peft saves it")]
    AdapterConfig {
        /// The file.
        path: PathBuf,
        /// The parser's error, which names the place.
        source: serde_json::Error,
    },
    /// The description of an adapter has an invalid value, or one by which the adapter is more than a sum W + s B A.
    #[error("{path}: {field} is {found}; {instead}")]
    AdapterField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The expected value, or the next step.
        instead: String,
    },
    /// The tensors of an adapter are not those of a LoRA adapter for this model.
    #[error("{path}: the adapter does not fit the model{}", lines(.problems))]
    AdapterTensors {
        /// The file.
        path: PathBuf,
        /// The modules or tensors, and what is wrong with each.
        problems: Vec<String>,
    },
    /// The device cannot compute with the chosen type.
    #[error("the device {device} does not support weights of type {dtype}; use f32")]
    Dtype {
        /// The device.
        device: String,
        /// The chosen type.
        dtype: WeightDtype,
    },
    /// The checkpoint cannot be had from the hub.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] super::hub_error::HubError),
}

/// The number of tensors of each kind that one message lists.
const SHOWN: usize = 16;

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

/// Puts the first problems on a line each.
fn lines(problems: &[String]) -> String {
    const SHOWN: usize = 16;
    let shown: String = problems.iter().take(SHOWN).flat_map(|problem| ["\n  ", problem]).collect();
    match problems.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}\n  and {more} more"),
    }
}

impl TensorMismatch {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty()
    }

    /// Returns what the names say about the checkpoint, and what to do about it.
    fn advice(&self) -> Option<&'static str> {
        const QUANTISED: [&str; 6] = [".qweight", ".qzeros", ".scales", ".weight_scale", ".absmax", ".quant_state."];
        let any = |parts: &[&str]| self.unexpected.iter().any(|t| parts.iter().any(|part| t.name.contains(part)));
        if any(&["lora_"]) {
            Some("these weights belong to a LoRA adapter; merge it into its model, or open the model and the adapter")
        } else if any(&QUANTISED) {
            Some("the weights are quantised; take the model's GGUF file, or its folder from before it was quantised")
        } else if any(&["experts."]) {
            Some("this is a mixture of experts, which is other arithmetic")
        } else if self.missing.len() == 1 && self.missing.iter().all(|tensor| tensor.name == HEAD) {
            Some("the model was saved without its output head, so that it cannot generate text")
        } else {
            None
        }
    }
}

impl fmt::Display for NamedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", shorten(&self.name), self.shape)
    }
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tensors do not match the configuration")?;
        for (what, tensors) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            for tensor in tensors.iter().take(SHOWN) {
                write!(f, "\n  {what}: {tensor}")?;
            }
            more(f, what, tensors.len())?;
        }
        for (found, expected) in self.misshaped.iter().take(SHOWN) {
            write!(f, "\n  wrong shape: {found}, expected {expected:?}")?;
        }
        more(f, "wrong shape", self.misshaped.len())?;
        self.advice().map_or(Ok(()), |advice| write!(f, "\n{advice}"))
    }
}

fn more(f: &mut fmt::Formatter<'_>, what: &str, tensors: usize) -> fmt::Result {
    match tensors.saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  {what}: {more} more"),
    }
}
