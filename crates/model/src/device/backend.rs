//! Backends by name, and their devices.

use burn::tensor::Device;
use std::fmt;
use std::str::FromStr;

/// A burn backend by name. Cargo features decide which of them are compiled in.
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
    /// Processor, pure Rust; the default.
    Flex,
    /// Processor, burn-ndarray (deprecated upstream, slow; kept for comparison).
    NdArray,
    /// NVIDIA GPU.
    Cuda,
    /// GPU through WebGPU.
    Wgpu,
}

impl Backend {
    /// The backend's default device.
    ///
    /// # Errors
    /// If the backend is not compiled in, or the machine has no GPU for it that a driver makes known.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            Self::NdArray => {
                #[expect(deprecated, reason = "asked for by name; the replacement, flex, is the default")]
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
            #[allow(unreachable_patterns, reason = "reachable as long as any backend is not compiled in")]
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

/// Whether the device is a GPU, whose backends launch kernels and return before they have finished.
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

/// Opens `device` if the machine has any of its `kind`; `missing` says what a machine with none lacks.
///
/// burn opens a GPU on first use, in a thread of its own that panics if there is none, and that panic cannot be caught. So
/// the devices are listed first.
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

/// The error of choosing a device.
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
    /// The backend is compiled in, and the machine has no device for it.
    #[error("no {backend} device can be used: {reason}")]
    Unavailable {
        /// The backend.
        backend: Backend,
        /// The thing that is missing.
        reason: String,
    },
}
