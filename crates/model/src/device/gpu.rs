//! GPUs, opened only where there is one.

use super::{Backend, DeviceError};
use burn::tensor::{Device, DeviceType};

/// `device`, if the machine has any of its `kind`.
///
/// burn opens a GPU on first use, in a thread of its own that panics if there is none, and nobody can catch that. So
/// what there is gets listed first. `missing` says what a machine with none lacks.
pub(super) fn present(
    backend: Backend,
    kind: DeviceType,
    device: fn() -> Device,
    missing: &str,
) -> Result<Device, DeviceError> {
    if Device::enumerate(kind).is_empty() {
        return Err(DeviceError::Unavailable { backend, reason: missing.to_owned() });
    }
    Ok(device())
}
