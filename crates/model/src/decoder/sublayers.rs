//! The sublayers of a block and what they are made of, in tensor operations.
//!
//! The fields have the names of the tensors in Hugging Face checkpoints.

use super::low_rank::LowRank;
use super::{Frame, LayerKv, Rotation};
use crate::matrix::Matrix;
use crate::ops::{self, CachedRow};
use crate::weights::Weights;
use burn::module::Module;
use burn::tensor::Tensor;

/// Grouped-query self-attention over the cache, with its projections.
#[derive(Module, Debug)]
pub struct Attention {
    /// Query projection, `[heads * head_dim, d_model]`.
    pub q_proj: Linear,
    /// Key projection, `[kv_heads * head_dim, d_model]`.
    pub k_proj: Linear,
    /// Value projection, `[kv_heads * head_dim, d_model]`.
    pub v_proj: Linear,
    /// Output projection, `[d_model, heads * head_dim]`.
    pub o_proj: Linear,
    /// Norm of each query head (Qwen3), `[head_dim]`.
    pub q_norm: Option<RmsNorm>,
    /// Norm of each key head (Qwen3), `[head_dim]`.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    pub(crate) head_dim: usize,
    /// The number of positions that a token attends to, its own included; `None` = all.
    #[module(skip)]
    pub(crate) window: Option<usize>,
    /// `false` if queries and keys are not rotated.
    #[module(skip)]
    pub(crate) rotated: bool,
}

impl Attention {
    /// Applies the attention to a normed state `x`, whose keys and values are written to `kv` first if `frame` has slots.
    ///
    /// # Shapes
    /// - `x` and the result: `[rows, tokens, d_model]`
    pub fn forward(&self, x: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        let [q, k, v] = Linear::forward_all([&self.q_proj, &self.k_proj, &self.v_proj], &x);
        let (k, v) = (self.keys(k, &frame.rotation), self.heads(v, None)); // [rows, kv_heads, tokens, head_dim]
        let q = self.rotate(self.heads(q, self.q_norm.as_ref()), &frame.rotation); // [rows, heads, tokens, head_dim]
        kv.write(frame, &k, &v);
        let mixed = if frame.places().is_empty() {
            ops::attention(q, k, v, frame.mask(self.window))
        } else {
            let cached: Vec<CachedRow<'_>> = frame.places().iter().map(|place| kv.cached(place, self.window)).collect();
            ops::cached_attention(&q, &cached)
        }; // [rows, tokens, heads * head_dim]
        self.o_proj.forward(mixed)
    }

    /// Returns the keys and values of a normed state `x: [rows, tokens, d_model]`, each
    /// `[rows, kv_heads, tokens, head_dim]`; the keys are rotated, unless the layer does not rotate.
    pub fn keys_values(&self, x: Tensor<3>, rotation: &Rotation) -> (Tensor<4>, Tensor<4>) {
        let [k, v] = Linear::forward_all([&self.k_proj, &self.v_proj], &x);
        (self.keys(k, rotation), self.heads(v, None))
    }

    /// Splits keys into heads, `[rows, tokens, kv_heads * head_dim]` to `[rows, kv_heads, tokens, head_dim]`, and norms
    /// and rotates them.
    fn keys(&self, k: Tensor<3>, rotation: &Rotation) -> Tensor<4> {
        self.rotate(self.heads(k, self.k_norm.as_ref()), rotation)
    }

    /// Rotates heads, `[rows, n, tokens, head_dim]`, unless the layer does not rotate.
    fn rotate(&self, heads: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
        if self.rotated { rotation.apply(heads) } else { heads }
    }

    /// Splits `[rows, tokens, n * head_dim]` into heads, `[rows, n, tokens, head_dim]`, and norms each if `norm` is
    /// given.
    fn heads(&self, x: Tensor<3>, norm: Option<&RmsNorm>) -> Tensor<4> {
        let [rows, tokens, width] = x.dims();
        let heads = width / self.head_dim;
        let x = x.reshape([rows, tokens, heads, self.head_dim]);
        let x = match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        x.swap_dims(1, 2)
    }
}

/// The gated MLP, `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Gate projection, `[d_ff, d_model]`.
    pub gate_proj: Linear,
    /// Up projection, `[d_ff, d_model]`.
    pub up_proj: Linear,
    /// Down projection, `[d_model, d_ff]`.
    pub down_proj: Linear,
}

impl Mlp {
    /// Applies the MLP to a normed state; input and result `[rows, tokens, d_model]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [gate, up] = Linear::forward_all([&self.gate_proj, &self.up_proj], &x);
        self.down_proj.forward(ops::swiglu(gate, up)) // [rows, tokens, d_model]
    }
}

/// Root-mean-square normalisation with a learned scale, `x / sqrt(mean(x²) + eps) * weight` over the last axis (Zhang
/// and Sennrich 2019).
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// The learned scale, `[width]`.
    pub weight: Weights<Tensor<1>>,
    #[module(skip)]
    pub(crate) eps: f64,
}

impl RmsNorm {
    /// Normalises the last axis of `x`, which has the weight's width; the result has the shape of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.eps)
    }
}

/// A linear map, `y = x Wᵀ + b`.
///
/// The weight keeps the checkpoint's layout, `[out, in]`, in which the weights of one output are contiguous: a product
/// with few tokens reads them in this order.
#[derive(Module, Debug)]
pub struct Linear {
    /// The matrix `W`, `[out, in]`.
    pub weight: Matrix,
    /// The bias `b`, `[out]`, if the map has one.
    pub bias: Option<Weights<Tensor<1>>>,
    /// The product that is added to the matrix, if the map is adapted.
    pub adapter: Option<LowRank>,
}

impl Linear {
    /// Applies the map.
    ///
    /// # Shapes
    /// - `x`: `[rows, tokens, in]`
    /// - result: `[rows, tokens, out]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [y] = Self::forward_all([self], &x);
        y
    }

    /// Applies several maps to the same input, in one operation if the backend supports it.
    pub(crate) fn forward_all<const N: usize>(maps: [&Self; N], x: &Tensor<3>) -> [Tensor<3>; N] {
        let mut products = ops::linear(x, maps.map(|map| &map.weight));
        for (map, y) in maps.iter().zip(&mut products) {
            if let Some(bias) = &map.bias {
                let bias = bias.val().cast(y.dtype()).unsqueeze::<3>(); // [1, 1, out]
                y.inplace(|y| y + bias);
            }
            if let Some(adapter) = &map.adapter {
                y.inplace(|y| y + adapter.forward(x));
            }
        }
        products
    }

    /// The numbers of outputs and inputs, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.weight.dims()
    }
}
