//! The backends.

use super::DeviceError;
use crate::load::{LoadError, WeightDtype};
use burn::tensor::Device;
use std::fmt;
use std::str::FromStr;

/// A burn backend by name; which of them are compiled in is a matter of Cargo features.
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
            Self::Cuda => super::gpu::present(
                self,
                burn::tensor::DeviceType::Cuda,
                || Device::cuda(burn::tensor::DeviceIndex::Default),
                "the NVIDIA driver is not installed, or it finds no GPU",
            ),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => super::gpu::present(
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

/// Refuses weights in a type that the device's products do not take.
pub(crate) fn check_dtype(device: &Device, dtype: WeightDtype) -> Result<(), LoadError> {
    if device.supports_dtype(dtype.burn()) {
        return Ok(());
    }
    Err(LoadError::Dtype { device: format!("{device:?}"), dtype })
}
