//! CUDA, tried only where there is a driver.

use super::{Backend, DeviceError};
use burn::tensor::{Device, DeviceIndex};
use std::path::Path;

const LIBRARY: &str = "libcuda.so.1";
/// Made by the driver for its first GPU, by its container runtime, and by WSL 2.
const NODES: [&str; 3] = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"];

/// The first CUDA device.
///
/// Without a driver, the CUDA bindings panic in a thread of their own, which nobody can catch: so the driver is looked
/// for first, where the dynamic linker would.
pub(super) fn device() -> Result<Device, DeviceError> {
    let missing = |reason: String| Err(DeviceError::Unavailable { backend: Backend::Cuda, reason });
    if cfg!(target_os = "linux") {
        if !NODES.iter().any(|node| Path::new(node).exists()) {
            return missing(format!("the NVIDIA driver is not loaded (none of {} exists)", NODES.join(", ")));
        }
        if !library_is_found() {
            return missing(format!("the driver's library {LIBRARY} is not found"));
        }
    }
    Ok(Device::cuda(DeviceIndex::Default))
}

fn library_is_found() -> bool {
    let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = ["/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib/wsl/lib"];
    let mut folders = std::env::split_paths(&given).chain(usual.map(Into::into));
    folders.any(|folder| folder.join(LIBRARY).exists())
        || std::fs::read("/etc/ld.so.cache")
            .is_ok_and(|cache| cache.windows(LIBRARY.len()).any(|window| window == LIBRARY.as_bytes()))
}
