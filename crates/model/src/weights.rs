//! Parameters of the decoder.

#[cfg(all(feature = "flex", target_os = "linux"))]
use crate::device::has_kernels;
#[cfg(feature = "gpu")]
use burn::backend::Cube;
#[cfg(feature = "flex")]
use burn::backend::{Flex, flex::FlexTensor};
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParameterValue,
};
#[cfg(all(feature = "gpu", not(feature = "flex")))]
use burn::tensor::Tensor;
#[cfg(all(feature = "flex", target_os = "linux"))]
use burn::tensor::{AllocationProperty, Bytes};
#[cfg(feature = "flex")]
use burn::tensor::{BackendPrimitive, Tensor, kind::Basic};
use burn::tensor::{Device, TensorData};
#[cfg(feature = "gpu")]
use burn_cubecl::tensor::CubeTensor;
use std::ops::Deref;
#[cfg(any(feature = "flex", feature = "gpu"))]
use std::sync::OnceLock;

/// A parameter whose storage the kernels find without making a handle: burn allocates for every handle, and on a GPU its account
/// of an operation's operands takes longer than the launch.
///
/// It is the parameter in all else: modules, visitors and records see no difference.
#[derive(Debug)]
pub struct Weights<T: ParameterValue> {
    param: Param<T>,
    #[cfg(feature = "flex")]
    storage: OnceLock<Option<FlexTensor>>,
    #[cfg(feature = "gpu")]
    on_gpu: OnceLock<Option<CubeTensor>>,
}

impl<T: ParameterValue> From<Param<T>> for Weights<T> {
    fn from(param: Param<T>) -> Self {
        Self {
            param,
            #[cfg(feature = "flex")]
            storage: OnceLock::new(),
            #[cfg(feature = "gpu")]
            on_gpu: OnceLock::new(),
        }
    }
}

impl<T: ParameterValue> Clone for Weights<T> {
    fn clone(&self) -> Self {
        Self::from(self.param.clone())
    }
}

impl<T: ParameterValue> Deref for Weights<T> {
    type Target = Param<T>;

    fn deref(&self) -> &Param<T> {
        &self.param
    }
}

#[cfg(feature = "flex")]
impl<const D: usize, K> Weights<Tensor<D, K>>
where
    K: Basic + BackendPrimitive<Flex, Primitive = FlexTensor>,
    Tensor<D, K>: ParameterValue,
{
    /// Returns the storage, if it is that of a `flex` tensor which autodiff does not track.
    pub(crate) fn storage(&self) -> Option<&FlexTensor> {
        self.storage.get_or_init(|| self.param.val().try_into_primitive::<Flex>().ok()).as_ref()
    }
}

#[cfg(feature = "gpu")]
impl<const D: usize> Weights<Tensor<D>> {
    /// Returns the storage on a GPU, if it is that of a tensor which autodiff does not track.
    pub(crate) fn on_gpu(&self) -> Option<&CubeTensor> {
        let storage = || {
            let tensor = self.param.val().try_into_primitive::<Cube>().ok()?;
            #[cfg(feature = "fusion")]
            let tensor = tensor.client.clone().resolve_tensor_float::<burn_cubecl::CubeBackend>(tensor);
            Some(tensor)
        };
        self.on_gpu.get_or_init(storage).as_ref()
    }
}

/// The size in bytes from which weights are worth a place in large pages.
#[cfg(all(feature = "flex", target_os = "linux"))]
const LARGE: usize = 1 << 16;

/// Moves large weights for `flex` to large pages, from which processors read them faster.
pub(crate) fn placed(data: TensorData, device: &Device) -> TensorData {
    #[cfg(all(feature = "flex", target_os = "linux"))]
    if data.as_bytes().len() >= LARGE
        && has_kernels(device)
        && let Some(pages) = dynlayer_cpu::in_large_pages(data.as_bytes())
    {
        let bytes = Bytes::from_shared(bytes::Bytes::from_owner(pages), AllocationProperty::Native);
        let (_, shape, dtype) = data.into_parts();
        return TensorData::from_bytes(bytes, shape, dtype);
    }
    let _ = device;
    data
}

// Not derived: the derived visit would put the field's name into the names of all weights.
impl<T: ParameterValue> Module for Weights<T>
where
    Param<T>: Module + ModuleDisplay,
{
    fn collect_devices(&self, devices: Devices) -> Devices {
        Module::collect_devices(&self.param, devices)
    }

    fn fork(self, device: &Device) -> Self {
        Module::fork(self.param, device).into()
    }

    fn to_device(self, device: &Device) -> Self {
        Module::to_device(self.param, device).into()
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        Module::visit(&self.param, visitor);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        Module::map(self.param, mapper).into()
    }

    fn train(self) -> Self {
        Module::train(self.param).into()
    }

    fn valid(&self) -> Self {
        Module::valid(&self.param).into()
    }

    fn materialize(self) -> Self {
        Module::materialize(self.param).into()
    }
}

impl<T: ParameterValue> ModuleDisplayDefault for Weights<T>
where
    Param<T>: ModuleDisplayDefault,
{
    fn content(&self, content: Content) -> Option<Content> {
        self.param.content(content)
    }
}

impl<T: ParameterValue> ModuleDisplay for Weights<T> where Param<T>: ModuleDisplay {}
