//! Products of a few tokens with a matrix, with what stands before and after them in a block.

use super::tensors::{Rows, tile};
use super::vectors::{
    AHEAD, LANES, OUTPUTS, STEP, UNITS, add_products, norm_scales, read_ahead, share_sums, stage, sum_of_lanes,
};
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// A product: `y = W x + bias + residual`, or `y = silu(W x) * (W' x)`, with `x` normed first if there is a norm.
pub(super) struct Product {
    /// `[.., width]`.
    pub(super) x: Rows,
    /// The scale of the norm, `[width]`, and what is added to the mean square.
    pub(super) norm: Option<(CubeTensor, f32)>,
    /// `W`, `[outputs, width]`.
    pub(super) weight: Rows,
    /// `W'`, `[outputs, width]`, in the type of `W`.
    pub(super) gated: Option<Rows>,
    /// `[outputs]`.
    pub(super) bias: Option<CubeTensor>,
    /// `[.., outputs]`.
    pub(super) residual: Option<Rows>,
}

impl Product {
    /// Launches the product, and returns `y: [tokens, outputs]` in memory that is contiguous.
    pub(super) fn launch(self) -> CubeTensor {
        let Self { x, norm, weight, gated, bias, residual } = self;
        let (tokens, width, outputs) = (x.rows(), x.width(), weight.rows());
        let client = x.tensor.client.clone();
        let y = super::tensors::empty(&x.tensor, [tokens, outputs].into());
        let tile = tile(tokens);
        let count = CubeCount::Static(outputs.div_ceil(OUTPUTS) as u32, tokens.div_ceil(tile) as u32, 1);
        let dtype = dtype_to_storage_type(weight.tensor.dtype);
        let n = super::tensors::VECTOR;
        let (normed, is_gated, biased, added) = (norm.is_some(), gated.is_some(), bias.is_some(), residual.is_some());
        let eps = norm.as_ref().map_or(0.0, |norm| norm.1);
        let pitch = |x: &Option<Rows>| x.as_ref().map_or(0, |x| x.pitch);
        let (second_pitch, residual_pitch) = (pitch(&gated), pitch(&residual));
        product::launch(
            &client,
            count,
            CubeDim::new_1d(UNITS as u32),
            n,
            x.tensor.into_buffer_arg(),
            norm.into_iter().map(|(gamma, _)| gamma.into_buffer_arg()).collect(),
            weight.tensor.into_buffer_arg(),
            gated.into_iter().map(|gated| gated.tensor.into_buffer_arg()).collect(),
            bias.into_iter().map(CubeTensor::into_buffer_arg).collect(),
            residual.into_iter().map(|residual| residual.tensor.into_buffer_arg()).collect(),
            y.clone().into_buffer_arg(),
            tokens,
            outputs,
            width / n,
            x.pitch / n,
            weight.pitch / n,
            second_pitch / n,
            residual_pitch,
            eps,
            tile,
            normed,
            is_gated,
            biased,
            added,
            dtype,
        );
        y
    }
}

/// A cube computes [`OUTPUTS`] outputs of a tile of tokens.
#[cube(launch)]
fn product<W: Float, N: Size>(
    x: &[Vector<f32, N>],
    gamma: &Sequence<Box<[Vector<f32, N>]>>,
    weight: &[Vector<W, N>],
    second: &Sequence<Box<[Vector<W, N>]>>,
    bias: &Sequence<Box<[f32]>>,
    residual: &Sequence<Box<[f32]>>,
    y: &mut [f32],
    tokens: usize,
    outputs: usize,
    width: usize,
    x_pitch: usize,
    pitch: usize,
    second_pitch: usize,
    residual_pitch: usize,
    eps: f32,
    #[comptime] tile: usize,
    #[comptime] normed: bool,
    #[comptime] gated: bool,
    #[comptime] biased: bool,
    #[comptime] added: bool,
    #[define(W)] _dtype: ElemType,
) {
    let unit = UNIT_POS as usize;
    let first = CUBE_POS_Y as usize * tile;
    let base = CUBE_POS_X as usize * OUTPUTS;
    let maps = comptime!(if gated { 2usize } else { 1usize });
    let mut partial = Shared::<[f32]>::new_slice(comptime!(maps * tile * UNITS));
    let mut scales = Shared::<[f32]>::new_slice(tile);
    if normed {
        norm_scales::<N>(x, x_pitch, width, first, tokens, eps, &mut partial, &mut scales, tile);
    }

    let row = base + unit / LANES;
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(maps * tile));
    #[unroll]
    for t in 0..comptime!(maps * tile) {
        sums[t] = Vector::<f32, N>::new(f32::new(0.0));
    }
    let mut w = Array::<Vector<f32, N>>::new(comptime!(maps * AHEAD));
    let mut staged = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tile * STEP));
    let mut start = 0usize.runtime();
    while start < width {
        // Rows past the last do not exist. The condition, and one `w` for all steps, also keep NVIDIA's assembler from moving each read
        // past the barrier, to its use.
        if row < outputs {
            read_ahead::<W, N>(weight, row * pitch, start, width, &mut w, 0usize);
            if gated {
                let second = &second[0];
                read_ahead::<W, N>(second, row * second_pitch, start, width, &mut w, 1usize);
            }
        }
        if start > 0 {
            sync_cube();
        }
        stage::<N>(x, gamma, x_pitch, width, start, first, tokens, &mut staged, 0usize, normed, tile);
        sync_cube();
        add_products::<N>(&w, &staged, &mut sums, 0usize, tile);
        if gated {
            add_products::<N>(&w, &staged, &mut sums, 1usize, tile);
        }
        start += STEP;
    }
    share_sums::<N>(&sums, &mut partial, comptime!(maps * tile));

    if unit < comptime!(tile * OUTPUTS) {
        let (t, output) = (unit / OUTPUTS, unit % OUTPUTS);
        let mut sum = sum_of_lanes(&partial, t, output);
        let mut other = f32::new(0.0);
        if gated {
            other = sum_of_lanes(&partial, tile + t, output);
        }
        let (output, token) = (base + output, first + t);
        if output < outputs && token < tokens {
            if normed {
                sum *= scales[t];
                other *= scales[t];
            }
            if gated {
                sum = sum / (f32::new(1.0) + (-sum).exp()) * other;
            }
            if biased {
                let bias = &bias[0];
                sum += bias[output];
            }
            if added {
                let residual = &residual[0];
                sum += residual[token * residual_pitch + output];
            }
            y[token * outputs + output] = sum;
        }
    }
}
