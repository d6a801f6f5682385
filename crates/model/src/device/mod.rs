//! Backends by name, and whether they can be used here.

mod backend;
mod error;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu;
mod kind;

pub use backend::Backend;
pub(crate) use backend::check_dtype;
pub use error::DeviceError;
pub use kind::is_gpu;
