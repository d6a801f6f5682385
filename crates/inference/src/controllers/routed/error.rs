//! What can be wrong with a router or its file.

use dynlayer_model::format::FormatError;
use std::path::PathBuf;

/// Why a router cannot be saved, loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The router was made for another model.
    #[error("a router for {} layers of width {}; the model has {} of width {}",
        found[0], found[1], expected[0], expected[1])]
    Dimensions {
        /// Layers and width of the router.
        found: [usize; 2],
        /// Layers and width of the model.
        expected: [usize; 2],
    },
    /// The router's logits have the wrong shape.
    #[error("the router's logits at layer {layer} have shape {found:?}; expected {expected:?}")]
    Logits {
        /// The layer.
        layer: usize,
        /// Their shape.
        found: [usize; 2],
        /// Rows and tokens.
        expected: [usize; 2],
    },
    /// The file is no readable safetensors file.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file cannot be written.
    #[error("{path}: cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The tensors could not be put into a file.
    #[error("{path}: the router cannot be written as safetensors")]
    Serialize {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: safetensors::SafeTensorError,
    },
    /// The device did not deliver a weight.
    #[error("reading {tensor} from the device failed: {reason}")]
    Device {
        /// The tensor.
        tensor: String,
        /// What the device said.
        reason: String,
    },
    /// The file's metadata has no configuration of a router.
    #[error("{path}: no {key:?} in the metadata; this is no router")]
    NoConfig {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// The configuration is not the JSON it should be.
    #[error("{path}: the router's configuration cannot be read")]
    Config {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// The file has another version.
    #[error("{path}: a router file of version {found}; expected {expected}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// A number of the configuration is out of range.
    #[error("{path}: {field} is {found}; expected {expected}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// The file has another number of tensors than the router.
    #[error("{path}: {found} tensors; a router of this configuration has {expected}")]
    Count {
        /// The file.
        path: PathBuf,
        /// Tensors of the file.
        found: usize,
        /// Tensors of the router.
        expected: usize,
    },
    /// A tensor has another shape.
    #[error("{path}: {tensor} has shape {found:?}; expected {expected:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<u64>,
        /// The shape that the configuration asks for.
        expected: Vec<u64>,
    },
    /// A tensor has another element type.
    #[error("{path}: {tensor} is {found}; expected F32")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        found: String,
    },
    /// A weight is not a finite number.
    #[error("{path}: {tensor} holds {value} at {index}; expected finite numbers")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Where, in row-major order.
        index: usize,
        /// What is there.
        value: f32,
    },
}
