//! The forward pass, top to bottom: embedding, blocks of attention and MLP, final norm, head.
//!
//! The fields have the names of the tensors in Hugging Face checkpoints.

#[cfg(feature = "flex")]
use super::in_place;
use super::{Frame, KvCache, LayerKv, Rope, Rotation};
use crate::config::LlamaConfig;
use crate::device::KvDtype;
use crate::digest::{DeviceReadError, Digest};
use crate::matrix::Matrix;
use crate::ops::{self, CachedRow};
use crate::weights::Weights;
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::collections::BTreeSet;

/// A Llama-style decoder: embedding, blocks, final norm, head.
///
/// [`forward`](Self::forward) runs every layer. Use [`embed`](Self::embed), [`layers`](Self::layers) and
/// [`logits`](Self::logits) to write a different layer loop.
///
/// The residual stream is always `f32`, whatever type the weights are stored in.
#[derive(Module, Debug)]
pub struct Llama {
    /// The embedding, `[vocab_size, d_model]`.
    pub embed_tokens: Matrix,
    pub(crate) layers: Vec<Block>,
    /// The final norm.
    pub norm: RmsNorm,
    /// The output head, `[vocab_size, d_model]`; `None` if the embedding is used as head.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    pub(crate) rope: Rope,
    #[module(skip)]
    pub(crate) config: LlamaConfig,
}

impl Llama {
    /// The model's configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The blocks, in order.
    pub fn layers(&self) -> &[Block] {
        &self.layers
    }

    /// The rotary frequencies, which make the rotations for [`Block::keys_values`]; frames hold theirs already.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Returns the digest of the weights, as [`Digest::of_weights`] does. The configuration is not part of it.
    ///
    /// # Errors
    /// If a weight cannot be read from the device.
    pub fn weights_digest(&self) -> Result<Digest, DeviceReadError> {
        Digest::of_weights(self)
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Makes a tensor `[rows, tokens]` on the model's device from the token ids of equally long rows.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn tokens(&self, rows: &[&[u32]]) -> Tensor<2, Int> {
        let n = rows.first().map_or(0, |row| row.len());
        assert!(rows.iter().all(|row| row.len() == n), "rows of different lengths");
        let ids: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|id| i64::from(*id))).collect();
        Tensor::from_data(TensorData::new(ids, [rows.len(), n]), &self.device())
    }

    /// Makes an empty cache for `rows` sequences with room for `capacity` tokens each, on the model's device, in `f32`.
    pub fn cache(&self, rows: usize, capacity: usize) -> KvCache {
        self.cache_of(KvDtype::F32, rows, capacity)
    }

    /// Makes a cache as [`cache`](Self::cache) does, with keys and values of this type.
    pub fn cache_of(&self, dtype: KvDtype, rows: usize, capacity: usize) -> KvCache {
        KvCache::new(&self.config, dtype, rows, capacity, &self.device())
    }

    /// The memory that the keys and values of this many tokens take in a cache of this type, in bytes. Layers with a
    /// window take as much as others, since a cache keeps every token.
    pub fn cache_bytes(&self, dtype: KvDtype, tokens: usize) -> u64 {
        let config = &self.config;
        (dtype.bytes() * 2 * config.n_layers * config.n_kv_heads * config.head_dim * tokens) as u64
    }

    /// Makes the frame of a pass that appends the same number of tokens to some rows of the cache.
    ///
    /// Row `i` of the pass reads and writes row `rows[i]` of the cache; `positions[i][token]` is the position of its
    /// tokens.
    ///
    /// A token attends to the slots up to its own. In a layer with a window it attends only to those of them whose
    /// position is less than the window before its own.
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, there is not one entry per row, or a row is named twice,
    /// does not exist or has no room for the tokens.
    pub fn frame(&self, cache: &KvCache, rows: &[usize], positions: &[Vec<usize>]) -> Frame {
        let slots: Vec<(usize, Option<usize>, &[usize])> =
            rows.iter().map(|row| (*row, cache.first_slot(*row), cache.positions(*row))).collect();
        let frame = Frame::cached(&self.rope, &slots, positions, &self.windows(), &self.device());
        for (row, _, used) in slots {
            let (end, capacity) = (used.len() + frame.tokens(), cache.capacity(row));
            assert!(end <= capacity, "{end} slots in a row of {capacity}");
        }
        frame
    }

    /// Makes the frame of a pass over whole texts, whose keys and values are not kept.
    ///
    /// `positions[row][token]` is the position of a token, and `padding[row]` the number of tokens at the start of a
    /// row that no other token attends to. Windows hide what they hide in [`frame`](Self::frame).
    ///
    /// # Panics
    /// If `positions` is empty, its rows differ in length, or `padding` does not have one entry per row.
    pub fn uncached_frame(&self, positions: &[Vec<usize>], padding: &[usize]) -> Frame {
        Frame::uncached(&self.rope, positions, padding, &self.windows(), &self.device())
    }

    /// The windows that at least one layer has.
    fn windows(&self) -> BTreeSet<usize> {
        self.config.windows.values().copied().collect()
    }

    /// Runs every layer on `tokens: [rows, tokens]`, and marks their slots in the cache as used.
    ///
    /// Returns the residual stream after the last layer, `[rows, tokens, d_model]`.
    pub fn forward(&self, tokens: Tensor<2, Int>, frame: &Frame, cache: &mut KvCache) -> Tensor<3> {
        let mut hidden = self.embed(tokens);
        for (layer, block) in self.layers.iter().enumerate() {
            hidden = block.forward(hidden, frame, cache.layer_mut(layer));
        }
        cache.advance(frame);
        hidden
    }

    /// Returns the embeddings of `tokens`, with which the residual stream starts.
    ///
    /// # Shapes
    /// - `tokens`: `[rows, tokens]`, each below `vocab_size`
    /// - result: `[rows, tokens, d_model]`
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [rows, n] = tokens.dims();
        let picked = self.embed_tokens.select(tokens.reshape([rows * n])); // [rows * tokens, d_model]
        picked.cast(DType::F32).reshape([rows, n, self.config.d_model])
    }

    /// Applies the final norm and the head: `[rows, tokens, d_model]` to `[rows, tokens, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.head(self.final_norm(hidden))
    }

    /// Applies the final norm, whose result the head takes; input and result `[rows, tokens, d_model]`.
    pub fn final_norm(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.norm.forward(hidden)
    }

    /// Applies the head: returns the logits of a state that [`final_norm`](Self::final_norm) has normalised.
    ///
    /// # Shapes
    /// - `normed`: `[rows, tokens, d_model]`
    /// - result: `[rows, tokens, vocab_size]`
    pub fn head(&self, normed: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(normed),
            None => {
                let [logits] = ops::linear(&normed, [&self.embed_tokens]);
                logits
            }
        }
    }
}

/// A pre-norm decoder layer: attention, then MLP, each added to the residual stream.
///
/// Each sublayer can be run alone, and keys and values can be written without running either.
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
    /// Runs the whole layer on the residual stream `hidden`; input and result `[rows, tokens, d_model]`.
    pub fn forward(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        #[cfg(feature = "flex")]
        let hidden = match in_place::attention(self, hidden, frame, kv) {
            Ok(hidden) => return self.feed_forward(hidden),
            Err(hidden) => hidden,
        };
        let update = self.self_attn.forward(self.input_layernorm.forward(hidden.clone()), frame, kv);
        let RmsNorm { weight, eps } = &self.post_attention_layernorm;
        let (hidden, normed) = ops::add_rms_norm(update, hidden, weight.val(), *eps);
        self.mlp.forward(normed) + hidden
    }

    /// Runs the attention sublayer, `hidden + attention(norm(hidden))`, and writes this pass's keys and values.
    pub fn attention(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        #[cfg(feature = "flex")]
        let hidden = match in_place::attention(self, hidden, frame, kv) {
            Ok(hidden) => return hidden,
            Err(hidden) => hidden,
        };
        self.self_attn.forward(self.input_layernorm.forward(hidden.clone()), frame, kv) + hidden
    }

    /// Runs the MLP sublayer, `hidden + mlp(norm(hidden))`.
    pub fn feed_forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        #[cfg(feature = "flex")]
        let hidden = match in_place::feed_forward(self, hidden) {
            Ok(hidden) => return hidden,
            Err(hidden) => hidden,
        };
        self.mlp.forward(self.post_attention_layernorm.forward(hidden.clone())) + hidden
    }

    /// Writes the keys and values that this layer computes from the residual stream `hidden`, without running either
    /// sublayer.
    ///
    /// Use it for tokens that skip the layer: later tokens that run the layer can then attend to them ("KV
    /// propagation", arXiv 2410.20022). It costs two projections.
    pub fn propagate(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) {
        #[cfg(feature = "flex")]
        let hidden = match in_place::propagate(self, hidden, frame, kv) {
            Ok(()) => return,
            Err(hidden) => hidden,
        };
        let (k, v) = self.keys_values(hidden, &frame.rotation);
        kv.write(frame, &k, &v);
    }

    /// Returns the keys and values that this layer computes from the residual stream `hidden`, without writing them.
    /// [`LayerKv::write_slots`] writes them to any slots.
    ///
    /// `rotation` comes from [`Rope::at`], for the positions of the tokens.
    ///
    /// # Shapes
    /// - `hidden`: `[rows, tokens, d_model]`
    /// - keys and values: `[rows, kv_heads, tokens, head_dim]` each
    pub fn keys_values(&self, hidden: Tensor<3>, rotation: &Rotation) -> (Tensor<4>, Tensor<4>) {
        self.self_attn.keys_values(self.input_layernorm.forward(hidden), rotation)
    }
}

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
        } else if let Some((k, v, bias)) = self.decode(frame, kv) {
            ops::decode_attention(q, k, v, bias)
        } else {
            let cached: Vec<CachedRow<'_>> = frame.places().iter().map(|place| kv.cached(place, self.window)).collect();
            ops::cached_attention(&q, &cached)
        }; // [rows, tokens, heads * head_dim]
        self.o_proj.forward(mixed)
    }

    /// Returns the keys, the values and what is added to the scores, if all rows can be computed together.
    fn decode<'a>(&self, frame: &'a Frame, kv: &LayerKv) -> Option<(Tensor<4>, Tensor<4>, &'a Tensor<4>)> {
        let decode = frame.decode()?;
        let (k, v) = kv.batched(decode)?;
        Some((k, v, decode.bias(self.window)?))
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
        let norm = |x: Tensor<4>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        if tokens == 1 {
            // The same order in memory, which spares a GPU a copy.
            return norm(x.reshape([rows, heads, 1, self.head_dim]));
        }
        norm(x.reshape([rows, tokens, heads, self.head_dim])).swap_dims(1, 2)
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
        }
        products
    }

    /// The numbers of outputs and inputs, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.weight.dims()
    }
}
