//! What kind of device a tensor lives on.

use burn::tensor::Device;

/// Whether the device is a GPU: one of the backends that launch kernels and return before they are done.
pub fn is_gpu(device: &Device) -> bool {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    {
        device.identity().is_some()
    }
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    {
        let _ = device;
        false
    }
}
