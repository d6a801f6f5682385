//! Embeddings of texts: states of one layer, without the layers above it.

use crate::tokens::{self, TokenProblem};
use burn::tensor::Tensor;
use dynlayer_model::Llama;

/// The number of tokens per pass.
const CHUNK: usize = 512;

/// The way in which the states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The mean of all tokens' states.
    #[default]
    Mean,
    /// The last token's state.
    Last,
}

/// The reason why texts cannot be embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// There is no text.
    #[error("no text; at least one is needed")]
    NoTexts,
    /// The model cannot run a text.
    #[error("text {text} {problem}")]
    Text {
        /// The text's index.
        text: usize,
        /// The problem.
        problem: TokenProblem,
    },
    /// The model has no such state.
    #[error("no state {layer}: the model has the states 0 (embeddings) to {n_layers} (after the last layer)")]
    Layer {
        /// The index of the state.
        layer: usize,
        /// The number of layers of the model.
        n_layers: usize,
    },
}

/// Returns one vector per text, `[texts, d_model]`, on the model's device: the states that enter `layer`, pooled over
/// the text's tokens. Only the layers below it run.
///
/// With the model's number of layers as `layer`, it is the final normed state.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::{Pooling, conformance, embed};
///
/// let model = conformance::small_model(&Device::flex())?;
/// let vectors = embed(&model, &[vec![1, 2, 3], vec![4, 5]], 2, Pooling::Mean)?; // runs two of the six layers
/// assert_eq!(vectors.dims(), [2, 32]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If there are no texts, the model cannot run one of them, or has no such state.
pub fn embed(model: &Llama, texts: &[Vec<u32>], layer: usize, pooling: Pooling) -> Result<Tensor<2>, EmbedError> {
    let n_layers = model.layers().len();
    if layer > n_layers {
        return Err(EmbedError::Layer { layer, n_layers });
    }
    if texts.is_empty() {
        return Err(EmbedError::NoTexts);
    }
    for (text, tokens) in texts.iter().enumerate() {
        tokens::check(model, tokens).map_err(|problem| EmbedError::Text { text, problem })?;
    }
    Ok(Tensor::cat(texts.iter().map(|text| embed_one(model, text, layer, pooling)).collect(), 0))
}

/// Returns the vector of one text, `[1, d_model]`. The caller has checked the text and the layer.
pub(crate) fn embed_one(model: &Llama, text: &[u32], layer: usize, pooling: Pooling) -> Tensor<2> {
    let _awake = dynlayer_model::awake();
    let mut cache = model.cache(1, text.len());
    let mut pooled = Tensor::zeros([1, model.config().d_model], &model.device());
    for (chunk, start) in text.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let frame = model.frame(&cache, &[0], &[(start..start + chunk.len()).collect()]);
        let mut hidden = model.embed(model.tokens(&[chunk])); // [1, tokens, d_model]
        for (layer, block) in model.layers()[..layer].iter().enumerate() {
            hidden = block.forward(hidden, &frame, cache.layer_mut(layer));
        }
        cache.advance(&frame);
        if layer == model.layers().len() {
            hidden = model.final_norm(hidden);
        }
        pooled = match pooling {
            Pooling::Mean => pooled + hidden.sum_dim(1).squeeze_dim::<2>(1) / text.len() as f64,
            Pooling::Last => hidden.narrow(1, chunk.len() - 1, 1).squeeze_dim::<2>(1),
        };
    }
    pooled
}
