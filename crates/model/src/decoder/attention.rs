//! The first half of a block: grouped-query self-attention over the cache.

use super::{Frame, LayerKv, Linear, RmsNorm};
use crate::ops;
use burn::module::Module;
use burn::tensor::Tensor;

/// Queries, keys and values of a normed state, attention over the cache, and the output projection.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[heads * head_dim, d_model]`.
    pub q_proj: Linear,
    /// `[kv_heads * head_dim, d_model]`.
    pub k_proj: Linear,
    /// `[kv_heads * head_dim, d_model]`.
    pub v_proj: Linear,
    /// `[d_model, heads * head_dim]`.
    pub o_proj: Linear,
    /// Qwen3: queries normed per head, `[head_dim]`.
    pub q_norm: Option<RmsNorm>,
    /// Qwen3: keys normed per head, `[head_dim]`.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    pub(crate) head_dim: usize,
}

impl Attention {
    /// Attention of a normed state `x`, its keys and values written to `kv` first.
    ///
    /// # Shapes
    /// - `x` and the result: `[rows, tokens, d_model]`
    pub fn forward(&self, x: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        let [q, k, v] = Linear::forward_all([&self.q_proj, &self.k_proj, &self.v_proj], &x);
        kv.write(frame.rows.as_deref(), frame.start(), self.keys(k, frame), self.heads(v, None));
        let q = self.heads(q, self.q_norm.as_ref()); // [rows, heads, tokens, head_dim]
        let q = ops::rotate(q, &frame.cos, &frame.sin);
        let (k, v) = kv.read(frame.end()); // [cached_rows, kv_heads, slots, head_dim]
        let mixed = ops::attention(q, k, v, frame.rows.as_deref(), frame.mask.as_ref());
        self.o_proj.forward(mixed) // [rows, tokens, d_model]
    }

    /// Keys and values of a normed state `x: [rows, tokens, d_model]`, `[rows, kv_heads, tokens, head_dim]` each, rotated
    /// as `frame` says.
    pub fn keys_values(&self, x: Tensor<3>, frame: &Frame) -> (Tensor<4>, Tensor<4>) {
        let [k, v] = Linear::forward_all([&self.k_proj, &self.v_proj], &x);
        (self.keys(k, frame), self.heads(v, None))
    }

    /// `[rows, tokens, kv_heads * head_dim]` to `[rows, kv_heads, tokens, head_dim]`, normed and rotated.
    fn keys(&self, k: Tensor<3>, frame: &Frame) -> Tensor<4> {
        ops::rotate(self.heads(k, self.k_norm.as_ref()), &frame.cos, &frame.sin)
    }

    /// `[rows, tokens, n * head_dim]` to `[rows, n, tokens, head_dim]`, each head normed if there is a norm.
    fn heads(&self, x: Tensor<3>, norm: Option<&RmsNorm>) -> Tensor<4> {
        let [rows, tokens, width] = x.dims();
        let x = x.reshape([rows, tokens, width / self.head_dim, self.head_dim]);
        let x = match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        x.swap_dims(1, 2)
    }
}
