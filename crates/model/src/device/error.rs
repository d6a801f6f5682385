//! Why a device cannot be had.

use super::Backend;

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend of this name exists.
    #[error("unknown device {0:?}; known are flex, ndarray, cuda, wgpu")]
    Unknown(String),
    /// The backend was not compiled in.
    #[error("the {backend} backend is not built in; build with --features {backend}")]
    NotBuilt {
        /// The backend.
        backend: Backend,
    },
    /// The backend is there, and the machine has nothing for it.
    #[error("no {backend} device can be used: {reason}")]
    Unavailable {
        /// The backend.
        backend: Backend,
        /// What is missing.
        reason: String,
    },
}
