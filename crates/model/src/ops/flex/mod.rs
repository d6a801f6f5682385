//! Kernels for CPU tensors of the `flex` backend: plain loops over slices, vectorised by `pulp` and split over threads.
#![allow(
    clippy::inline_always,
    reason = "only what is inlined into the dispatched function is compiled for the processor's vector unit"
)]

mod attention;
mod blocks;
mod exp;
mod linear;
mod load;
mod parallel;
mod rms_norm;
mod rotate;
mod swiglu;
mod tile;

pub(super) use attention::attention;
pub(super) use linear::{gate_up, linear, linear_add, norm_linear};
pub(super) use rms_norm::rms_norm;
pub(super) use rotate::rotate;
pub(super) use swiglu::swiglu;

use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Tensor, TensorData};

/// Returns the storage of an `f32` tensor on flex that autodiff does not track; `None` for other tensors.
fn floats<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    let storage = tensor.clone().try_into_primitive::<Flex>().ok()?;
    (storage.dtype() == DType::F32).then_some(storage)
}

/// Returns the storage of a tensor like [`floats`], in row-major order without gaps.
fn contiguous<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    floats(tensor).map(|storage| storage.to_contiguous())
}

/// Makes a flex tensor of `values`, in row-major order.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape)))
}
