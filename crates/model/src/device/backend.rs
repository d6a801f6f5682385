//! The burn backends, their names and their devices.

use burn::tensor::Device;
use std::fmt;
use std::str::FromStr;

/// A burn backend. The Cargo feature of the same name compiles it in.
///
/// ```
/// use dynlayer_model::{Backend, DeviceError};
///
/// let backend: Backend = "flex".parse()?;
/// # #[cfg(feature = "flex")]
/// let device = backend.device()?;
/// # Ok::<(), DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// CPU, in pure Rust; the default.
    Flex,
    /// CPU, through burn-ndarray (deprecated upstream and slow; kept for comparison).
    NdArray,
    /// NVIDIA GPU.
    Cuda,
    /// GPU through WebGPU.
    Wgpu,
}

impl Backend {
    /// Returns the backend's default device.
    ///
    /// # Errors
    /// If the backend is not compiled in, or if it needs a GPU and no driver reports one.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            Self::NdArray => {
                #[expect(deprecated, reason = "requested by name; its replacement, flex, is the default")]
                let device = Device::ndarray();
                Ok(device)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => gpu(
                self,
                burn::tensor::DeviceType::Cuda,
                || Device::cuda(burn::tensor::DeviceIndex::Default),
                "the NVIDIA driver is not installed, or it finds no GPU",
            ),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => gpu(
                self,
                burn::tensor::DeviceType::Wgpu,
                || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
                "no graphics adapter is found",
            ),
            #[allow(unreachable_patterns, reason = "reachable if a backend is not compiled in")]
            backend => Err(DeviceError::NotBuilt { backend }),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        })
    }
}

impl FromStr for Backend {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let known = [Self::Flex, Self::NdArray, Self::Cuda, Self::Wgpu];
        known.into_iter().find(|b| b.to_string() == text).ok_or_else(|| DeviceError::Unknown(text.to_owned()))
    }
}

/// Returns `true` if the device is a GPU. GPU backends launch kernels and return before the kernels have finished.
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

/// Opens a device with `device`, after checking that the machine has a device of this `kind`. If it has none, the error
/// gives `missing` as the reason.
///
/// The check is needed because burn opens a GPU on first use, in a separate thread, which panics if there is no GPU,
/// and that panic cannot be caught.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn gpu(
    backend: Backend,
    kind: burn::tensor::DeviceType,
    device: fn() -> Device,
    missing: &str,
) -> Result<Device, DeviceError> {
    if Device::enumerate(kind).is_empty() {
        return Err(DeviceError::Unavailable { backend, reason: missing.to_owned() });
    }
    Ok(device())
}

/// An error in choosing a device.
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
    /// The backend is compiled in, but the machine has no device for it.
    #[error("no {backend} device can be used: {reason}")]
    Unavailable {
        /// The backend.
        backend: Backend,
        /// The reason, for example a missing driver.
        reason: String,
    },
}
