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
mod row_kv;
mod swiglu;
mod tile;
mod unit;

pub(crate) use attention::{Queries, Seen, attention};
pub(super) use linear::linear;
pub(crate) use linear::{Map, Thin, apply, gated};
pub(crate) use rms_norm::in_place as norm_in_place;
pub(super) use rms_norm::rms_norm;
pub(crate) use rotate::in_place as rotate_in_place;
pub(super) use rotate::rotate;
pub(crate) use row_kv::RowKv;
pub(super) use swiglu::swiglu;

use burn::backend::{BackendTensor, DispatchTensorKind, Flex, flex::FlexTensor};
use burn::tensor::{DType, DispatchTensor, Tensor, TensorData};

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

/// Takes the storage of an `f32` tensor on flex that autodiff does not track, in row-major order without gaps, without a
/// copy if there is no other handle of it. Gives another tensor back.
#[expect(clippy::result_large_err, reason = "a box would allocate")]
pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    let dispatched = tensor.into_dispatch();
    match dispatched.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(storage)) if storage.dtype() == DType::F32 => {
            let whole = storage.is_contiguous() && storage.bytes().len() == 4 * storage.layout().num_elements();
            Ok(if whole { storage } else { storage.to_contiguous() })
        }
        kind => Err(Tensor::from_dispatch(DispatchTensor { kind, ..dispatched })),
    }
}
