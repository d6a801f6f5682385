//! Devices: the backends by name, and the types that weights are stored in on them.

mod backend;
mod dtype;

pub use backend::{Backend, DeviceError, is_gpu};
pub use dtype::{DtypeError, WeightDtype};
