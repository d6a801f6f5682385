//! One decoder layer.

use super::{Attention, Frame, LayerKv, Mlp, RmsNorm};
use burn::module::Module;
use burn::tensor::Tensor;

/// A pre-norm decoder layer: attention, then MLP, each added to the residual stream.
///
/// The two sublayers can be run apart, and the keys and values written without either.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before the attention.
    pub input_layernorm: RmsNorm,
    /// The attention sublayer.
    pub self_attn: Attention,
    /// Norm before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// The MLP sublayer.
    pub mlp: Mlp,
}

impl Block {
    /// The whole layer: `hidden` is the residual stream, `[rows, tokens, d_model]`, and so is the result.
    pub fn forward(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        let hidden = self.attention(hidden, frame, kv);
        self.feed_forward(hidden)
    }

    /// The attention sublayer, `hidden + attention(norm(hidden))`; writes this pass's keys and values.
    pub fn attention(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        let mixed = self.self_attn.forward(self.input_layernorm.forward(hidden.clone()), frame, kv);
        mixed + hidden
    }

    /// The MLP sublayer, `hidden + mlp(norm(hidden))`.
    pub fn feed_forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let update = self.mlp.forward(self.post_attention_layernorm.forward(hidden.clone()));
        update + hidden
    }

    /// Writes the keys and values that this layer has for the residual stream `hidden`, and runs neither sublayer.
    ///
    /// Costs two projections: what the attention of later tokens needs of a token that skips the layer
    /// ("KV propagation", arXiv 2410.20022).
    pub fn propagate(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) {
        let (k, v) = self.keys_values(hidden, frame);
        kv.write(frame.rows.as_deref(), frame.start(), k, v);
    }

    /// The keys and values that this layer has for the residual stream `hidden: [rows, tokens, d_model]`,
    /// `[rows, kv_heads, tokens, head_dim]` each. Of `frame` only the positions matter: for tokens whose place in the
    /// cache is not that of a pass, to be written with [`LayerKv::write`].
    pub fn keys_values(&self, hidden: Tensor<3>, frame: &Frame) -> (Tensor<4>, Tensor<4>) {
        self.self_attn.keys_values(self.input_layernorm.forward(hidden), frame)
    }
}
