//! Backends by name, and whether they can be used here.

mod backend;
#[cfg(feature = "cuda")]
mod cuda;
mod error;

pub use backend::Backend;
pub use error::DeviceError;
pub(crate) use backend::check_dtype;
