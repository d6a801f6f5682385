//! The forward pass, top to bottom: embedding, blocks, final norm, head.
//!
//! The fields have the names of the tensors in Hugging Face checkpoints.

#[cfg(feature = "flex")]
use super::in_place;
#[cfg(feature = "gpu")]
use super::on_gpu;
use super::sublayers::{Attention, Linear, Mlp, RmsNorm};
use super::{Frame, KvCache, LayerKv, Rope, Rotation};
use crate::config::LlamaConfig;
use crate::device::KvDtype;
use crate::digest::{DeviceReadError, Digest};
use crate::matrix::Matrix;
use crate::ops;
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

    /// Returns the digest of the weights, as [`Digest::of_weights`] does, with that of an adapter's names and scales. The
    /// configuration is not part of it.
    ///
    /// # Errors
    /// If a weight cannot be read from the device.
    pub fn weights_digest(&self) -> Result<Digest, DeviceReadError> {
        let weights = Digest::of_weights(self)?;
        Ok(self.adapter().map_or(weights, |adapter| Digest::of([weights, adapter.form()])))
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
    /// The frame is for this cache as it is: make another one after rows have been added, removed or grown.
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
        Frame::uncached(&self.rope, positions, padding, false, &self.windows(), &self.device())
    }

    /// Makes the frame of a pass over texts of which some share a row, because they begin alike.
    ///
    /// A token attends to an earlier one if the positions of all tokens after that one, up to and including its own, are
    /// higher. With positions 0, 1, 2, 3, 2, 3, the last two tokens continue the first two, and do not see the others.
    ///
    /// # Panics
    /// If `positions` is empty, or its rows differ in length.
    pub fn branched_frame(&self, positions: &[Vec<usize>]) -> Frame {
        Frame::uncached(&self.rope, positions, &vec![0; positions.len()], true, &self.windows(), &self.device())
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

    /// Writes the keys and values that these layers compute from the residual stream `hidden: [rows, tokens, d_model]`, as
    /// [`Block::propagate`] does for each of them. On GPUs it takes fewer launches.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn propagate(&self, layers: &[usize], hidden: &Tensor<3>, frame: &Frame, cache: &mut KvCache) {
        #[cfg(feature = "gpu")]
        if crate::device::is_gpu(&hidden.device()) {
            let all = self.layers.iter().zip(cache.layers_mut()).enumerate();
            let some = all.filter(|(layer, _)| layers.contains(layer));
            let mut some: Vec<_> = some.map(|(_, (block, kv))| block.skipped(kv)).collect();
            if some.len() == layers.len() && on_gpu::propagate(&mut some, hidden, frame) {
                return;
            }
        }
        for layer in layers {
            self.layers[*layer].propagate(hidden.clone(), frame, cache.layer_mut(*layer));
        }
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
        #[cfg(feature = "gpu")]
        {
            let head = match &self.lm_head {
                Some(head) => (head.bias.is_none() && head.adapter.is_none()).then_some(&head.weight),
                None => Some(&self.embed_tokens),
            };
            if let Some(logits) = head.and_then(|head| on_gpu::head(&self.norm, head, &hidden)) {
                return logits;
            }
        }
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
        #[cfg(feature = "gpu")]
        let hidden = {
            let attention = (&self.input_layernorm, &self.self_attn);
            let mlp = (&self.post_attention_layernorm, &self.mlp);
            match on_gpu::layer(attention, mlp, hidden, frame, kv) {
                Ok(hidden) => return hidden,
                Err(hidden) => hidden,
            }
        };
        let hidden = self.attention(hidden, frame, kv);
        self.feed_forward(hidden)
    }

    /// Runs the attention sublayer, `hidden + attention(norm(hidden))`, and writes this pass's keys and values.
    pub fn attention(&self, hidden: Tensor<3>, frame: &Frame, kv: &mut LayerKv) -> Tensor<3> {
        #[cfg(feature = "flex")]
        let hidden = match in_place::attention(&self.input_layernorm, &self.self_attn, hidden, frame, kv) {
            Ok(hidden) => return hidden,
            Err(hidden) => hidden,
        };
        #[cfg(feature = "gpu")]
        let hidden = match on_gpu::attention(&self.input_layernorm, &self.self_attn, hidden, frame, kv) {
            Ok(hidden) => return hidden,
            Err(hidden) => hidden,
        };
        self.self_attn.forward(self.input_layernorm.forward(hidden.clone()), frame, kv) + hidden
    }

    /// Runs the MLP sublayer, `hidden + mlp(norm(hidden))`.
    pub fn feed_forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        #[cfg(feature = "flex")]
        let hidden = match in_place::feed_forward(&self.post_attention_layernorm, &self.mlp, hidden) {
            Ok(hidden) => return hidden,
            Err(hidden) => hidden,
        };
        #[cfg(feature = "gpu")]
        let hidden = match on_gpu::feed_forward(&self.post_attention_layernorm, &self.mlp, hidden) {
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
        let hidden = match in_place::propagate(&self.input_layernorm, &self.self_attn, hidden, frame, kv) {
            Ok(()) => return,
            Err(hidden) => hidden,
        };
        #[cfg(feature = "gpu")]
        if on_gpu::propagate(&mut [self.skipped(kv)], &hidden, frame) {
            return;
        }
        let (k, v) = self.keys_values(hidden, &frame.rotation);
        kv.write(frame, &k, &v);
    }

    #[cfg(feature = "gpu")]
    fn skipped<'a>(&'a self, kv: &'a mut LayerKv) -> on_gpu::Skipped<'a> {
        (&self.input_layernorm, &self.self_attn, kv)
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
