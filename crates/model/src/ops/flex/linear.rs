//! Products of tokens with weight matrices, in the form in which the matrices are stored.

use super::load::Load;
use super::parallel::{for_each, shares};
use super::unit::{Operation, on_floats, on_halves, widen_all};
use super::{blocks, contiguous, swiglu, tensor, tile};
use crate::format::GgmlType;
use crate::matrix::Matrix;
use burn::tensor::{DType, Tensor};
use half::f16;
use pulp::Simd;
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
    let [rows, tokens, _] = x.dims();
    let x = contiguous(x)?;
    let x = x.as_slice::<f32>().filter(|x| !x.is_empty())?;
    let mut maps = Vec::with_capacity(N);
    for weight in weights {
        maps.push(Map::new(weight, None).filter(|map| map.width * rows * tokens == x.len())?);
    }
    Some(std::array::from_fn(|i| {
        let mut out = vec![0f32; rows * tokens * maps[i].outputs];
        apply(&maps[i..=i], x, &mut out);
        tensor(out, [rows, tokens, maps[i].outputs])
    }))
}

/// A linear map, `x (W + s B A)ᵀ + b`.
pub(crate) struct Map<'a> {
    rows: Rows<'a>,
    bias: Option<&'a [f32]>,
    thin: Option<Thin<'a>>,
    width: usize,
    outputs: usize,
}

/// The product `s B A` of an adapter, whose matrices are `[outputs, rank]` and `[rank, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Thin<'a> {
    pub(crate) b: &'a [f32],
    pub(crate) a: &'a [f32],
    pub(crate) rank: usize,
    pub(crate) scale: f32,
}

impl<'a> Map<'a> {
    /// Makes a map from its matrix and what is added to its products; `None` if the matrix is not of `flex` or has an
    /// element type without kernels.
    pub(crate) fn new(weight: &'a Matrix, bias: Option<&'a [f32]>) -> Option<Self> {
        let [outputs, width] = weight.dims();
        let rows = match weight {
            Matrix::Dense(weight) => {
                let storage = weight.storage()?;
                match storage.dtype() {
                    DType::F32 => Rows::F32(storage.as_slice()?),
                    DType::F16 => Rows::F16(storage.as_slice()?),
                    _ => return None,
                }
            }
            Matrix::Quantised(blocks) => Rows::Blocks(blocks.ty(), blocks.storage()?.as_slice()?),
        };
        Some(Self { rows, bias, thin: None, width, outputs })
    }

    /// Adds the product of an adapter; `None` if it is of another shape.
    pub(crate) fn with(self, thin: Thin<'a>) -> Option<Self> {
        let Thin { a, b, rank, .. } = thin;
        let fits = rank > 0 && a.len() == rank * self.width && b.len() == rank * self.outputs;
        fits.then_some(Self { thin: Some(thin), ..self })
    }

    fn bytes_per_row(&self) -> usize {
        self.rows.bytes_per_row(self.width)
    }

    /// The number of inputs.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes some outputs for all inputs to the scratch buffer. `at` is the map's place among those that are applied.
    fn part(&self, at: usize, rows: Range<usize>, inputs: &Inputs<'_>, scratch: &mut Scratch) {
        self.rows.part(rows.clone(), self.width).products(inputs, scratch);
        if let Some(Thin { b, rank, .. }) = self.thin {
            let Scratch { products, added, .. } = scratch;
            added.resize(products.len(), 0.0);
            let weights = &b[rows.start * rank..rows.end * rank];
            on_floats(Floats { weights, x: &inputs.thin[at], width: rank, out: added });
            for (product, added) in products.iter_mut().zip(added) {
                *product += *added;
            }
        }
        if let Some(bias) = self.bias {
            for outputs in scratch.products.chunks_exact_mut(rows.len()) {
                for (output, bias) in outputs.iter_mut().zip(&bias[rows.clone()]) {
                    *output += bias;
                }
            }
        }
    }
}

/// Applies maps of equal width to `x: [n, width]`; `out: [n, outputs of all maps]` gets the outputs of a map after those
/// of the map before.
pub(crate) fn apply(maps: &[Map<'_>], x: &[f32], out: &mut [f32]) {
    let bytes = maps.iter().map(Map::bytes_per_row).max().unwrap_or(1);
    shared(maps, maps.iter().map(|map| map.outputs).sum(), bytes, x, out, |share, inputs, scratch, put| {
        let mut start = 0;
        for (at, map) in maps.iter().enumerate() {
            let range = share.start.max(start)..share.end.min(start + map.outputs);
            if !range.is_empty() {
                map.part(at, range.start - start..range.end - start, inputs, scratch);
                put(range, &scratch.products);
            }
            start += map.outputs;
        }
    });
}

/// Computes `swiglu(gate(x), up(x))` of `x: [n, width]` to `out: [n, outputs of each map]`.
pub(crate) fn gated(maps: &[Map<'_>; 2], x: &[f32], out: &mut [f32]) {
    let [gate, up] = maps;
    let bytes = gate.bytes_per_row() + up.bytes_per_row();
    shared(maps, gate.outputs, bytes, x, out, |share, inputs, scratch, put| {
        gate.part(0, share.clone(), inputs, scratch);
        let mut activations = std::mem::take(&mut scratch.gate);
        std::mem::swap(&mut activations, &mut scratch.products);
        up.part(1, share.clone(), inputs, scratch);
        swiglu::in_place(&mut activations, &scratch.products);
        put(share, &activations);
        scratch.gate = activations;
    });
}

/// Computes `out: [n, total]` from `x: [n, width]` on all threads, in shares of columns: `compute` gives columns of the
/// outputs of all inputs, `[n, columns]`, to its last argument.
fn shared(
    maps: &[Map<'_>],
    total: usize,
    bytes: usize,
    x: &[f32],
    out: &mut [f32],
    compute: impl Fn(Range<usize>, &Inputs<'_>, &mut Scratch, &mut dyn FnMut(Range<usize>, &[f32])) + Sync,
) {
    let Some(Map { width, .. }) = maps.first() else { return };
    let n = x.len() / width;
    let most = (SHARE_BYTES / bytes).min(SHARE_PRODUCTS / n).max(UNIT);
    let out = Mutex::new(out);
    QUANTISED.with_borrow_mut(|quantised| {
        let blocks = maps.iter().any(|map| matches!(map.rows, Rows::Blocks(..)));
        if blocks {
            quantised.fill(x, *width);
        }
        let thin: Vec<Vec<f32>> = if maps.iter().any(|map| map.thin.is_some()) {
            maps.iter().map(|map| map.thin.map(|thin| thin.of(x, *width)).unwrap_or_default()).collect()
        } else {
            Vec::new()
        };
        let inputs = Inputs { x, width: *width, quantised: blocks.then_some(quantised), thin };
        let work = |share: Range<usize>| {
            SCRATCH.with_borrow_mut(|scratch| {
                compute(share, &inputs, scratch, &mut |columns, found| {
                    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                    for (out, found) in out.chunks_exact_mut(total).zip(found.chunks_exact(columns.len())) {
                        out[columns.clone()].copy_from_slice(found);
                    }
                });
            });
        };
        for_each(n * width * total, shares(total, UNIT, most), work);
    });
}

thread_local! {
    static QUANTISED: RefCell<blocks::Inputs> = RefCell::default();
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A thread's buffers.
#[derive(Default)]
struct Scratch {
    /// The products of some rows of weights, `[n, rows]`.
    products: Vec<f32>,
    /// Products with the gate.
    gate: Vec<f32>,
    /// Products that are added, of the same shape.
    added: Vec<f32>,
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
    quantised: Option<&'a blocks::Inputs>,
    /// Their products with the matrices `A` of the maps' adapters, scaled; empty if no map has an adapter.
    thin: Vec<Vec<f32>>,
}

impl Thin<'_> {
    /// Returns `s x Aᵀ`, `[n, rank]`.
    fn of(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / width * self.rank];
        on_floats(Floats { weights: self.a, x, width, out: &mut out });
        for thin in &mut out {
            *thin *= self.scale;
        }
        out
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
        let Inputs { x, width, quantised, .. } = inputs;
        let n = x.len() / width;
        let Scratch { products, wide, panel, .. } = scratch;
        match self {
            Self::F32(weights) => {
                products.resize(n * weights.len() / width, 0.0);
                on_floats(Floats { weights, x, width: *width, out: products });
            }
            Self::F16(weights) => {
                products.resize(n * weights.len() / width, 0.0);
                if let Err(Floats { out, .. }) = on_halves(n, Floats { weights, x, width: *width, out: products }) {
                    widen_all(weights, wide);
                    on_floats(Floats { weights: wide, x, width: *width, out });
                }
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

/// Rows of weights that are floating-point numbers, inputs, and the buffer for the products, `[n, rows]`.
struct Floats<'a, W> {
    weights: &'a [W],
    x: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl<W: Copy> Operation<W> for Floats<'_, W> {
    /// Takes the inputs in blocks that stay in the second-level cache, and a few rows at a time, which stay in the first.
    #[inline(always)]
    fn run<S: Simd, L: Load<S, W>>(self, simd: S, load: L) {
        let Self { weights, x, width, out } = self;
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
