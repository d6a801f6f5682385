//! Kernels for GPUs, written once for all of them in cubecl, for passes of a few tokens.
//!
//! Such a pass is a question of how fast a processor can launch kernels: a layer is five launches here, and some twenty as
//! tensor operations. The kernels take any shape as it is, so nothing is compiled or tuned for a new one; the large products of
//! long passes are left to burn, which has better kernels for them. Everything is computed in `f32`.

mod attend;
mod extension;
mod heads;
mod product;
mod tensors;
mod vectors;

pub(crate) use extension::{AttentionMaps, Cached, KvMaps, MlpMaps, Optional, Sublayers};
pub(crate) use heads::Form;
pub(crate) use tensors::VECTOR;

use crate::device::is_gpu;
use crate::matrix::Matrix;
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;

/// The number of tokens up to which the kernels are always used: they read a weight once for eight tokens.
const FEW: usize = 16;
/// The multiplications of a product up to which the kernels are used for more tokens: from there on, products that use a GPU's
/// matrix units are worth what they take to launch.
const MULTIPLICATIONS: usize = 1 << 30;

/// Returns `true` if the kernels take products of this state, `[rows, tokens, width]`, with matrices of at most this many rows.
pub(crate) fn takes(hidden: &Tensor<3>, outputs: usize) -> bool {
    let [rows, tokens, width] = hidden.dims();
    let (device, tokens) = (hidden.device(), rows * tokens);
    (1..=FEW.max(MULTIPLICATIONS / (width * outputs).max(1))).contains(&tokens)
        && width.is_multiple_of(VECTOR)
        && hidden.dtype() == DType::F32
        && is_gpu(&device)
        && !device.is_autodiff()
}

/// Returns the storage of some matrices, if the kernels take them: they have one type, and widths of whole vectors.
pub(crate) fn weights<const N: usize>(matrices: [&Matrix; N]) -> Option<[CubeTensor; N]> {
    let mut storage = Vec::with_capacity(N);
    for matrix in matrices {
        let Matrix::Dense(weights) = matrix else { return None };
        storage.push(weights.on_gpu()?.clone());
    }
    let dtype = storage.first()?.dtype;
    let fit = |tensor: &CubeTensor| tensor.dtype == dtype && tensor.meta.shape()[1].is_multiple_of(VECTOR);
    let known = matches!(dtype, DType::F32 | DType::F16) && storage.iter().all(fit);
    storage.try_into().ok().filter(|_| known)
}

/// Does what [`linear`](super::linear) does.
pub(super) fn linear<const N: usize>(x: &Tensor<3>, matrices: [&Matrix; N]) -> Option<[Tensor<3>; N]> {
    let outputs = matrices.iter().map(|matrix| matrix.dims()[0]).max();
    if !takes(x, outputs.unwrap_or_default()) {
        return None;
    }
    let product = |weight| Tensor::from_dispatch(Dispatch::few_products(x.clone().into_dispatch(), weight));
    Some(weights(matrices)?.map(product))
}
