//! Kernels for GPUs, written once for all of them in cubecl, for passes of a few tokens.
//!
//! Such a pass is a question of how fast a processor can launch kernels: a layer is five launches here (with biases or head
//! norms, two or three more), and some twenty as tensor operations. The kernels are compiled for a model, for one, two, four or more
//! tokens and for one, two, four or eight layers that are skipped together, and never for a length, and nothing is tuned. The large
//! products of long passes are left to burn, which has better kernels for them. Everything is computed in `f32`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::collapsible_if,
    clippy::float_cmp,
    clippy::fn_params_excessive_bools,
    clippy::many_single_char_names,
    clippy::too_many_arguments,
    clippy::too_many_lines,
    clippy::trivially_copy_pass_by_ref,
    clippy::used_underscore_binding,
    reason = "a kernel is one function, whose arguments are numbers and tensors under the names of formulas; numbers of tokens and \
              slots are far below 2^24; two conditions are one only where both are known at the same time; an array has another \
              size in a kernel"
)]

mod attend;
mod extension;
mod heads;
mod largest;
mod product;
mod tensors;
mod vectors;

pub(crate) use extension::{AttentionMaps, Cached, KvMaps, MlpMaps, Optional, Pools, Sublayers};
pub(crate) use heads::Form;

use self::tensors::VECTOR;
use self::vectors::{STEP, UNITS};
use crate::device::is_gpu;
use crate::matrix::Matrix;
use crate::weights::Weights;
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;

/// The number of tokens up to which the kernels take products and contexts of any size.
const FEW: usize = 16;
/// The multiplications of a product up to which the kernels take more tokens: from there on, products that use a GPU's matrix
/// units are worth what they take to launch.
const MULTIPLICATIONS: usize = 1 << 30;
/// The scores of a head up to which the kernels take more tokens: every token reads all keys that it sees for itself.
const SCORES: usize = 1 << 20;
/// The largest number of tokens, since each may be a cube of a launch.
const MOST_TOKENS: usize = 65_535;
/// The widest head.
const WIDEST_HEAD: usize = 256;
/// The bytes of shared memory and the number of tensors without which a device cannot run the kernels; those that take several
/// layers use more tensors where they can. Burn counts the tensors without the one that holds the lengths.
const NEEDS: (usize, usize) = (8 * 4 * (UNITS + STEP * VECTOR + WIDEST_HEAD) + 64, 9);

/// Returns `true` if the kernels take products of this state, `[rows, tokens, width]`, with matrices of at most this many rows.
pub(crate) fn takes(hidden: &Tensor<3>, outputs: usize) -> bool {
    let [rows, tokens, width] = hidden.dims();
    let tokens = rows * tokens;
    (1..=FEW.max(MULTIPLICATIONS / (width * outputs).max(1)).min(MOST_TOKENS)).contains(&tokens)
        && width.is_multiple_of(VECTOR)
        && reads(hidden)
}

/// Returns `true` if the kernels can read this tensor: it is `f32`, on a GPU, and records no gradients.
fn reads<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    x.dtype() == DType::F32 && is_gpu(&device) && !device.is_autodiff()
}

/// Returns `true` if the kernels take the attention of this many tokens to at most this many slots each, in heads of this width.
pub(crate) fn attends(tokens: usize, slots: usize, head_dim: usize) -> bool {
    (tokens <= FEW || tokens * slots <= SCORES) && head_dim.is_multiple_of(VECTOR) && head_dim <= WIDEST_HEAD
}

/// Returns the storage of some matrices, if the kernels take them: they have one type, and widths of whole vectors.
pub(crate) fn weights<const N: usize>(matrices: [&Matrix; N]) -> Option<[CubeTensor; N]> {
    let mut storage = Vec::with_capacity(N);
    for matrix in matrices {
        let Matrix::Dense(weights) = matrix else { return None };
        storage.push(weights.on_gpu()?.clone());
    }
    let CubeTensor { dtype, client, .. } = storage.first()?;
    let (dtype, hardware) = (*dtype, &client.properties().hardware);
    let suits = hardware.max_shared_memory_size >= NEEDS.0 && hardware.max_bindings as usize >= NEEDS.1;
    let fit = |tensor: &CubeTensor| tensor.dtype == dtype && tensor.meta.shape()[1].is_multiple_of(VECTOR);
    let known = suits && matches!(dtype, DType::F32 | DType::F16) && storage.iter().all(fit);
    storage.try_into().ok().filter(|_| known)
}

/// Returns the storage of a vector, if the kernels take it: it is `f32`.
pub(crate) fn vector(weights: &Weights<Tensor<1>>) -> Option<CubeTensor> {
    weights.on_gpu().filter(|storage| storage.dtype == DType::F32).cloned()
}

/// Does what [`largest_in_rows`](super::largest_in_rows) does.
pub(super) fn largest(x: &Tensor<2>) -> Option<Tensor<1>> {
    let [rows, width] = x.dims();
    // Up to this width, `f32` holds every index exactly.
    let takes = (1..=MOST_TOKENS).contains(&rows) && (1..=1 << f32::MANTISSA_DIGITS).contains(&width) && reads(x);
    takes.then(|| Tensor::from_dispatch(Dispatch::largest(x.clone().into_dispatch())))
}

/// Does what [`linear`](super::linear) does.
pub(super) fn linear<const N: usize>(x: &Tensor<3>, matrices: [&Matrix; N]) -> Option<[Tensor<3>; N]> {
    products(x, None, matrices)
}

/// Does what [`linear`](super::linear) does, for a state that is normed first. A norm is its scale and the number that is added to
/// mean squares.
pub(crate) fn normed_linear(x: &Tensor<3>, norm: (&Weights<Tensor<1>>, f32), matrix: &Matrix) -> Option<Tensor<3>> {
    let [product] = products(x, Some((vector(norm.0)?, norm.1)), [matrix])?;
    Some(product)
}

fn products<const N: usize>(
    x: &Tensor<3>,
    norm: Option<(CubeTensor, f32)>,
    matrices: [&Matrix; N],
) -> Option<[Tensor<3>; N]> {
    let outputs = matrices.iter().map(|matrix| matrix.dims()[0]).max();
    if !takes(x, outputs.unwrap_or_default()) {
        return None;
    }
    let product =
        |weight| Tensor::from_dispatch(Dispatch::few_products(x.clone().into_dispatch(), norm.clone(), weight));
    Some(weights(matrices)?.map(product))
}
