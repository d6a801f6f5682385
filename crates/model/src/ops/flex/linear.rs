//! Products of tokens with weight matrices, in the form in which the matrices are stored.

#[cfg(target_arch = "x86_64")]
use super::load::{Avx2, Avx512};
use super::load::{Direct, Load, widen};
use super::parallel::{for_each, shares};
use super::{blocks, contiguous, rms_norm, swiglu, tensor, tile};
use crate::format::GgmlType;
use crate::matrix::Matrix;
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Tensor};
use half::f16;
use pulp::{Arch, Simd, WithSimd};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The largest size in bytes of the weights of a share, so that no thread waits long for another.
const SHARE_BYTES: usize = 1 << 16;
/// The numbers of rows of shares are multiples of this, so that tiles are full.
const UNIT: usize = 32;
/// The largest number of products of a share, which stay in the second-level cache.
const SHARE_PRODUCTS: usize = 1 << 15;
/// The size in bytes of the inputs that stay in the second-level cache while rows of weights pass by.
const INPUT_BYTES: usize = 1 << 17;

/// The kernel for [`linear`](super::super::linear()).
///
/// A product does not depend on its company: its bits are the same for a token alone and among any number of tokens, on
/// any number of threads. Products with quantised weights are described in [`blocks`].
pub(in crate::ops) fn linear<const N: usize>(x: &Tensor<3>, weights: [&Matrix; N]) -> Option<[Tensor<3>; N]> {
    let [rows, tokens, width] = x.dims();
    let x = contiguous(x)?;
    tensors(products(x.as_slice()?, width, weights)?, [rows, tokens])
}

/// The kernel for [`norm_linear`](super::super::norm_linear).
pub(in crate::ops) fn norm_linear<const N: usize>(
    x: &Tensor<3>,
    gamma: &Tensor<1>,
    eps: f64,
    weights: [&Matrix; N],
) -> Option<[Tensor<3>; N]> {
    let [rows, tokens, width] = x.dims();
    let (x, gamma) = (contiguous(x)?, contiguous(gamma)?);
    let gamma = gamma.as_slice::<f32>()?;
    if gamma.len() != width {
        return None;
    }
    let products = NORMED.with_borrow_mut(|normed| {
        normed.resize(rows * tokens * width, 0.0);
        rms_norm::into(x.as_slice()?, gamma, eps, normed);
        products(normed, width, weights)
    });
    tensors(products?, [rows, tokens])
}

/// The kernel for [`linear_add`](super::super::linear_add).
pub(in crate::ops) fn linear_add(x: &Tensor<3>, weight: &Matrix, residual: &Tensor<3>) -> Option<Tensor<3>> {
    let [rows, tokens, width] = x.dims();
    let (x, residual) = (contiguous(x)?, contiguous(residual)?);
    let [mut sums] = products(x.as_slice()?, width, [weight])?;
    for (sum, residual) in sums.iter_mut().zip(residual.as_slice::<f32>()?) {
        *sum += residual;
    }
    let [sums] = tensors([sums], [rows, tokens])?;
    Some(sums)
}

/// The kernel for [`gate_up`](super::super::gate_up).
pub(in crate::ops) fn gate_up(x: &Tensor<3>, gate: &Matrix, up: &Matrix) -> Option<Tensor<3>> {
    let [rows, tokens, width] = x.dims();
    let x = contiguous(x)?;
    let [mut gate, up] = products(x.as_slice()?, width, [gate, up])?;
    swiglu::in_place(&mut gate, &up);
    let [activations] = tensors([gate], [rows, tokens])?;
    Some(activations)
}

/// Makes tensors `[rows, tokens, out]` of products.
fn tensors<const N: usize>(products: [Vec<f32>; N], [rows, tokens]: [usize; 2]) -> Option<[Tensor<3>; N]> {
    let n = rows * tokens;
    (n > 0).then(|| {
        products.map(|products| {
            let d_out = products.len() / n;
            tensor(products, [rows, tokens, d_out])
        })
    })
}

/// Computes the products of each weight with `x: [n, width]`, `[n, out]` each.
fn products<const N: usize>(x: &[f32], width: usize, weights: [&Matrix; N]) -> Option<[Vec<f32>; N]> {
    if x.is_empty() {
        return None;
    }
    let mut stored = Vec::with_capacity(N);
    for weight in weights {
        stored.push(Stored::new(weight).filter(|_| weight.dims()[1] == width)?);
    }
    let matrices: Vec<Rows<'_>> = stored.iter().map(|stored| stored.rows(width)).collect::<Option<_>>()?;
    let quantised = matrices.iter().any(|rows| matches!(rows, Rows::Blocks(..)));
    let inputs = Inputs { x, width, quantised: quantised.then(|| blocks::Inputs::new(x, width)) };
    let outputs = weights.map(|weight| weight.dims()[0]);
    let mut products = outputs.map(|d_out| vec![0f32; x.len() / width * d_out]);
    run(&matrices, &inputs, outputs, &mut products);
    Some(products)
}

/// Computes the products of all matrices, `[n, out]` each.
fn run<const N: usize>(matrices: &[Rows<'_>], inputs: &Inputs<'_>, outputs: [usize; N], products: &mut [Vec<f32>; N]) {
    let n = inputs.x.len() / inputs.width;
    let total: usize = outputs.iter().sum();
    let row_bytes = matrices.iter().map(|rows| rows.bytes_per_row(inputs.width)).max().unwrap_or(1);
    let most = (SHARE_BYTES / row_bytes).min(SHARE_PRODUCTS / n).max(UNIT);
    let products = Mutex::new(products);
    // A share is a range of the rows of all matrices, one after the other.
    let work = |share: Range<usize>| {
        let mut start = 0;
        for (m, (rows, d_out)) in matrices.iter().zip(outputs).enumerate() {
            let range = share.start.max(start)..share.end.min(start + d_out);
            if !range.is_empty() {
                let range = range.start - start..range.end - start;
                let count = range.len();
                SCRATCH.with_borrow_mut(|scratch| {
                    rows.part(range.clone(), inputs.width).products(inputs, scratch);
                    let mut products = products.lock().unwrap_or_else(PoisonError::into_inner);
                    for (product, found) in
                        products[m].chunks_exact_mut(d_out).zip(scratch.products.chunks_exact(count))
                    {
                        product[range.clone()].copy_from_slice(found);
                    }
                });
            }
            start += d_out;
        }
    };
    for_each(n * inputs.width * total, shares(total, UNIT, most), work);
}

thread_local! {
    static NORMED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A thread's buffers.
#[derive(Default)]
struct Scratch {
    /// The products of some rows of weights, `[n, rows]`.
    products: Vec<f32>,
    /// Rows of weights, widened.
    wide: Vec<f32>,
    /// Rows of weights, unpacked.
    panel: blocks::Panel,
}

/// The inputs of a product, `[n, width]`.
struct Inputs<'a> {
    x: &'a [f32],
    width: usize,
    /// The same quantised, if a matrix is.
    quantised: Option<blocks::Inputs>,
}

/// The storage of a matrix.
enum Stored {
    Dense(FlexTensor),
    Blocks(GgmlType, FlexTensor),
}

impl Stored {
    fn new(weight: &Matrix) -> Option<Self> {
        let stored = match weight {
            Matrix::Dense(weight) => Self::Dense(weight.val().try_into_primitive::<Flex>().ok()?),
            Matrix::Quantised(weight) => Self::Blocks(weight.ty(), weight.bytes().try_into_primitive::<Flex>().ok()?),
        };
        let (Self::Dense(tensor) | Self::Blocks(_, tensor)) = &stored;
        tensor.is_contiguous().then_some(stored)
    }

    fn rows(&self, width: usize) -> Option<Rows<'_>> {
        match self {
            Self::Dense(tensor) => match tensor.dtype() {
                DType::F32 => Some(Rows::F32(tensor.as_slice::<f32>()?)),
                DType::F16 => Some(Rows::F16(tensor.as_slice::<f16>()?)),
                _ => None,
            },
            Self::Blocks(ty, tensor) if width.is_multiple_of(ty.block_size()) => {
                Some(Rows::Blocks(*ty, tensor.as_slice::<u8>()?))
            }
            Self::Blocks(..) => None,
        }
    }
}

/// Some rows of a matrix.
#[derive(Clone, Copy)]
enum Rows<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Blocks(GgmlType, &'a [u8]),
}

impl Rows<'_> {
    fn bytes_per_row(&self, width: usize) -> usize {
        match self {
            Self::F32(_) => 4 * width,
            Self::F16(_) => 2 * width,
            Self::Blocks(ty, _) => ty.row_bytes(width),
        }
    }

    fn part(&self, rows: Range<usize>, width: usize) -> Self {
        match *self {
            Self::F32(weights) => Self::F32(&weights[rows.start * width..rows.end * width]),
            Self::F16(weights) => Self::F16(&weights[rows.start * width..rows.end * width]),
            Self::Blocks(ty, weights) => {
                let bytes = self.bytes_per_row(width);
                Self::Blocks(ty, &weights[rows.start * bytes..rows.end * bytes])
            }
        }
    }

    /// Computes the products with all inputs to the scratch buffer.
    fn products(self, inputs: &Inputs<'_>, scratch: &mut Scratch) {
        let Inputs { x, width, quantised } = inputs;
        let n = x.len() / width;
        let Scratch { products, wide, panel } = scratch;
        match self {
            Self::F32(weights) => {
                products.resize(n * weights.len() / width, 0.0);
                Arch::new().dispatch(Floats { weights, load: Direct, x, width: *width, out: products });
            }
            Self::F16(weights) => {
                products.resize(n * weights.len() / width, 0.0);
                halves(weights, x, *width, wide, products);
            }
            Self::Blocks(ty, weights) => {
                let rows = weights.len() / self.bytes_per_row(*width);
                products.resize(n * rows, 0.0);
                if let Some(inputs) = quantised {
                    blocks::products(ty, weights, inputs, panel, |row, i, product| products[i * rows + row] = product);
                }
            }
        }
    }
}

/// Computes products with weights in `f16`. Where few inputs use a weight, it is widened in the register, otherwise
/// beforehand, once for all inputs.
fn halves(weights: &[f16], x: &[f32], width: usize, wide: &mut Vec<f32>, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    match Arch::new() {
        Arch::V4(v4) if x.len() / width <= tile::inputs::<pulp::x86::V4>() => {
            return Simd::vectorize(v4, Floats { weights, load: Avx512(v4), x, width, out });
        }
        Arch::V3(v3) if x.len() / width <= tile::inputs::<pulp::x86::V3>() => {
            return Simd::vectorize(v3, Floats { weights, load: Avx2(v3), x, width, out });
        }
        _ => {}
    }
    wide.resize(weights.len(), 0.0);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (wide, weight) in wide.iter_mut().zip(weights) {
                *wide = widen(*weight);
            }
        },
    );
    Arch::new().dispatch(Floats { weights: wide, load: Direct, x, width, out });
}

/// Rows of weights that are floating-point numbers, inputs, and the buffer for the products, `[n, rows]`.
struct Floats<'a, W, L> {
    weights: &'a [W],
    load: L,
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl<W: Copy, L> Floats<'_, W, L> {
    /// Takes the inputs in blocks that stay in the second-level cache, and a few rows at a time, which stay in the first.
    #[inline(always)]
    fn run<S: Simd>(self, simd: S)
    where
        L: Load<S, W>,
    {
        let Self { weights, load, x, width, out } = self;
        let rows = weights.len() / width;
        let most = (INPUT_BYTES / (4 * width)).max(1).next_multiple_of(tile::inputs::<S>());
        let panel = if x.len() / width <= tile::inputs::<S>() { rows } else { tile::ROWS };
        for (x, out) in x.chunks(most * width).zip(out.chunks_mut(most * rows)) {
            for (first, weights) in weights.chunks(panel * width).enumerate() {
                tile::products(simd, load, weights, x, width, |row, input, product| {
                    out[input * rows + first * panel + row] = product;
                });
            }
        }
    }
}

impl WithSimd for Floats<'_, f32, Direct> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.run(simd);
    }
}

#[cfg(target_arch = "x86_64")]
impl WithSimd for Floats<'_, f16, Avx512> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let simd = self.load.0;
        self.run(simd);
    }
}

#[cfg(target_arch = "x86_64")]
impl WithSimd for Floats<'_, f16, Avx2> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let simd = self.load.0;
        self.run(simd);
    }
}
