//! The decoder.

use super::{Block, Frame, KvCache, Linear, RmsNorm, Rope};
use crate::config::LlamaConfig;
use crate::ops;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// A Llama-style decoder: embedding, blocks, final norm, head.
///
/// It has no loop of its own beyond [`forward`](Self::forward), which runs every layer: whoever wants another loop
/// builds it from [`embed`](Self::embed), [`layers`](Self::layers) and [`logits`](Self::logits).
///
/// The residual stream is always `f32`, whatever the weights are stored in.
#[derive(Module, Debug)]
pub struct Llama {
    /// `[vocab_size, d_model]`.
    pub embed_tokens: Param<Tensor<2>>,
    pub(crate) layers: Vec<Block>,
    /// The final norm.
    pub norm: RmsNorm,
    /// `[vocab_size, d_model]`; `None` where the embedding serves as head.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    pub(crate) rope: Rope,
    #[module(skip)]
    pub(crate) config: LlamaConfig,
}

impl Llama {
    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The blocks, in order.
    pub fn layers(&self) -> &[Block] {
        &self.layers
    }

    /// The rotary frequencies, for a [`Frame::new`] away from a cache.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embed_tokens.val().device()
    }

    /// The embeddings of `tokens`, the start of the residual stream.
    ///
    /// # Shapes
    /// - `tokens`: `[rows, tokens]`, each below `vocab_size`
    /// - result: `[rows, tokens, d_model]`
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [rows, n] = tokens.dims();
        let picked = self.embed_tokens.val().select(0, tokens.reshape([rows * n])); // [rows * tokens, d_model]
        picked.cast(DType::F32).reshape([rows, n, self.config.d_model])
    }

    /// The final norm: the last residual state as the head sees it, `[rows, tokens, d_model]` both.
    pub fn final_norm(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.norm.forward(hidden)
    }

    /// The head: logits of a final normed state.
    ///
    /// # Shapes
    /// - `normed`: `[rows, tokens, d_model]`
    /// - result: `[rows, tokens, vocab_size]`
    pub fn head(&self, normed: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(normed),
            None => {
                let [logits] = ops::linear(&normed, [self.embed_tokens.val()]);
                logits
            }
        }
    }

    /// Final norm and head of a residual state: `[rows, tokens, d_model]` to `[rows, tokens, vocab_size]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.head(self.final_norm(hidden))
    }

    /// An empty cache for `rows` sequences of up to `capacity` tokens, on the model's device.
    pub fn cache(&self, rows: usize, capacity: usize) -> KvCache {
        KvCache::new(&self.config, rows, capacity, &self.device())
    }

    /// What the layers share in a pass that writes the slots from `cache.len()` on; see [`Frame::new`].
    ///
    /// # Panics
    /// As [`Frame::new`], and if the cache has no room for the pass.
    pub fn frame(&self, cache: &KvCache, positions: &[Vec<usize>], padding: &[usize]) -> Frame {
        let frame = Frame::new(&self.rope, cache.len(), positions, padding, &self.device());
        assert!(frame.end() <= cache.capacity(), "{} slots in a cache of {}", frame.end(), cache.capacity());
        frame
    }

    /// Every layer on `tokens: [rows, tokens]`: the residual stream after the last, `[rows, tokens, d_model]`.
    pub fn forward(&self, tokens: Tensor<2, Int>, frame: &Frame, cache: &mut KvCache) -> Tensor<3> {
        let mut hidden = self.embed(tokens);
        for (layer, block) in self.layers.iter().enumerate() {
            hidden = block.forward(hidden, frame, cache.layer_mut(layer));
        }
        cache.advance(frame.tokens());
        hidden
    }

    /// Token ids of equally long rows as a tensor `[rows, tokens]` on the model's device.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn tokens(&self, rows: &[&[u32]]) -> Tensor<2, Int> {
        let n = rows.first().map_or(0, |row| row.len());
        assert!(rows.iter().all(|row| row.len() == n), "rows of different lengths");
        let ids: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|id| i64::from(*id))).collect();
        Tensor::from_data(TensorData::new(ids, [rows.len(), n]), &self.device())
    }
}
