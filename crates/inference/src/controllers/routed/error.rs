//! Errors of routers.

use crate::files::FileError;
use crate::parameters::DeviceReadError;

/// The error of a router that cannot be saved, loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The router was made for another model.
    #[error("the router is for {} layers of width {}; the model has {} of width {}",
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
        /// The expected shape, `[rows, tokens]`.
        expected: [usize; 2],
    },
    /// The file cannot be read or written, or does not hold a router.
    #[error(transparent)]
    File(#[from] FileError),
    /// The device did not deliver a weight.
    #[error(transparent)]
    Device(#[from] DeviceReadError),
}
