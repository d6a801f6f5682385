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
        DeviceSpec::from(self).open()
    }
}

/// A device of a backend, as a command line names it: `flex`, `cuda`, or `cuda:1` for the second GPU.
///
/// ```
/// use dynlayer_model::{Backend, DeviceSpec};
///
/// let second: DeviceSpec = "cuda:1".parse()?;
/// assert_eq!(second, DeviceSpec { backend: Backend::Cuda, index: Some(1) });
/// # #[cfg(feature = "flex")]
/// let device = DeviceSpec::from(Backend::Flex).open()?;
/// # Ok::<(), dynlayer_model::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    /// The backend.
    pub backend: Backend,
    /// The number of the device among those that the backend's driver reports, from 0 on; `None` = the default device.
    pub index: Option<usize>,
}

impl DeviceSpec {
    /// Opens the device.
    ///
    /// # Errors
    /// If the backend is not compiled in, if it needs a GPU and no driver reports one, or if there is no device of this
    /// number.
    pub fn open(self) -> Result<Device, DeviceError> {
        let Self { backend, index } = self;
        match (backend, index.unwrap_or(0)) {
            #[cfg(feature = "flex")]
            (Backend::Flex, 0) => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            (Backend::NdArray, 0) => {
                #[expect(deprecated, reason = "requested by name; its replacement, flex, is the default")]
                let device = Device::ndarray();
                Ok(device)
            }
            #[cfg(feature = "flex")]
            (Backend::Flex, index) => Err(DeviceError::NoIndex { backend, index, found: 1 }),
            #[cfg(feature = "ndarray")]
            (Backend::NdArray, index) => Err(DeviceError::NoIndex { backend, index, found: 1 }),
            #[cfg(feature = "cuda")]
            (Backend::Cuda, _) => self.gpu(
                burn::tensor::DeviceType::Cuda,
                || Device::cuda(burn::tensor::DeviceIndex::Default),
                "the NVIDIA driver is not installed, or it finds no GPU",
            ),
            #[cfg(feature = "wgpu")]
            (Backend::Wgpu, _) => self.gpu(
                burn::tensor::DeviceType::Wgpu,
                || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
                "no graphics adapter is found",
            ),
            #[allow(unreachable_patterns, reason = "reachable if a backend is not compiled in")]
            (backend, _) => Err(DeviceError::NotBuilt { backend }),
        }
    }

    /// Opens a GPU: the one of this number, or `default`. If the machine has no device of this `kind`, the error gives
    /// `missing` as the reason.
    ///
    /// The check is needed because burn opens a GPU on first use, in a separate thread, which panics if there is no GPU,
    /// and that panic cannot be caught.
    #[cfg(feature = "gpu")]
    fn gpu(
        self,
        kind: burn::tensor::DeviceType,
        default: fn() -> Device,
        missing: &str,
    ) -> Result<Device, DeviceError> {
        let Self { backend, index } = self;
        let devices = Device::enumerate(kind).into_vec();
        if devices.is_empty() {
            return Err(DeviceError::Unavailable { backend, reason: missing.to_owned() });
        }
        let found = devices.len();
        match index {
            None => Ok(default()),
            Some(index) => devices.into_iter().nth(index).ok_or(DeviceError::NoIndex { backend, index, found }),
        }
    }
}

impl From<Backend> for DeviceSpec {
    fn from(backend: Backend) -> Self {
        Self { backend, index: None }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => self.backend.fmt(f),
            Some(index) => write!(f, "{}:{index}", self.backend),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let Some((backend, index)) = text.split_once(':') else { return Ok(Self::from(text.parse::<Backend>()?)) };
        let index = index.parse().map_err(|_| DeviceError::Unknown(text.to_owned()))?;
        Ok(Self { backend: backend.parse()?, index: Some(index) })
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
    #[cfg(feature = "gpu")]
    {
        device.identity().is_some()
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// Returns `true` if this crate has kernels for the device, among them products with quantised blocks.
pub(crate) fn has_kernels(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    {
        // Devices with autodiff and without are equal.
        *device == Device::flex()
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// Returns the name of a GPU, as its driver gives it; `None` for a CPU.
pub fn adapter_name(device: &Device) -> Option<String> {
    #[cfg(feature = "gpu")]
    {
        Some(device.identity()?.name)
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        None
    }
}

/// An error in choosing a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend of this name exists.
    #[error("unknown device {0:?}; known are flex, ndarray, cuda, wgpu, and a number after them, as in cuda:1")]
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
    /// The backend has no device of this number.
    #[error("there is no device {backend}:{index}; {found} found, and the first is {backend}:0")]
    NoIndex {
        /// The backend.
        backend: Backend,
        /// The number, from 0 on.
        index: usize,
        /// The number of devices that there are.
        found: usize,
    },
}
