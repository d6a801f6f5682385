//! Backends and their devices, and the element types of weights on a device.

mod backend;
mod dtype;

pub(crate) use backend::has_kernels;
pub use backend::{Backend, DeviceError, DeviceSpec, adapter_name, is_gpu};
pub use dtype::{DtypeError, KvDtype, WeightDtype};
