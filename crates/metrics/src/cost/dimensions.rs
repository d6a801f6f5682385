//! The dimensions of a model, and the cost of counted work in such a model.

use super::Counts;
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// The dimensions of a Llama-style decoder: grouped-query attention, a gated MLP of three matrices, one head.
///
/// Weights per sublayer, with d = `d_model`, f = `d_ff`, h = `n_heads`, g = `n_kv_heads`, e = `head_dim`:
///
/// | part | weights |
/// |---|---|
/// | attention | d·h·e (queries) + 2·d·g·e (keys, values) + h·e·d (output) |
/// | MLP | 3·d·f (gate, up, down) |
/// | keys and values alone | 2·d·g·e |
/// | head | d·`vocab_size` |
///
/// Only matrix products are counted: these weights, and in attention the products of queries with keys and of
/// probabilities with values. **Not counted** are norms, biases, rotary embeddings, softmax, activation and gate
/// product, residual additions, the embedding lookup and sampling; together they are O(d + f) per token and sublayer
/// (softmax: O(h) per attended position), compared with O(d·(d + f)) for the matrix products.
///
/// This is the usual count of 2 operations per weight and token (Kaplan et al. 2020, "Scaling laws for neural language
/// models", arXiv 2001.08361, section 2.1 and table 1), with the gated MLP's third matrix and grouped keys and values.
///
/// ```
/// use dynlayer_metrics::cost::{Counts, Dimensions};
///
/// let smollm2 = Dimensions {
///     n_layers: 30,
///     d_model: 576,
///     d_ff: 1536,
///     n_heads: 9,
///     n_kv_heads: 3,
///     head_dim: 64,
///     vocab_size: 49152,
///     bytes_per_weight: 2.0,
/// };
/// // One decoded token at full depth reads every matrix once: 134.5 million weights in two bytes.
/// assert_eq!(smollm2.weight_bytes(&smollm2.full_launches(1)), 2.0 * 134_479_872.0);
///
/// // The same token through half of the layers; the others only project their keys and values.
/// let half = Counts { attention: 15, mlp: 15, kv_projections: 15, head_products: 1, attended: 15 * 100 };
/// let fraction = smollm2.flops(&half) / smollm2.flops(&smollm2.full_counts(1, 99));
/// assert!((0.62..0.65).contains(&fraction));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimensions {
    /// Number of layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width inside the MLP.
    pub d_ff: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads.
    pub n_kv_heads: usize,
    /// Width of one attention head.
    pub head_dim: usize,
    /// Number of tokens in the vocabulary, which is the number of rows of the head.
    pub vocab_size: usize,
    /// Bytes per weight in memory, scales of quantised blocks included (`Q4_1`: 0.625).
    pub bytes_per_weight: f64,
}

impl Dimensions {
    /// The number of weights of one attention sublayer.
    pub fn attention_weights(&self) -> f64 {
        2.0 * self.d_model.to_f64() * self.query_width() + self.kv_weights()
    }

    /// The number of weights of one MLP sublayer.
    pub fn mlp_weights(&self) -> f64 {
        3.0 * self.d_model.to_f64() * self.d_ff.to_f64()
    }

    /// The number of weights of one layer's key and value projections, which [`Self::attention_weights`] includes.
    pub fn kv_weights(&self) -> f64 {
        2.0 * self.d_model.to_f64() * self.kv_width()
    }

    /// The number of weights of the head, tied to the embedding or not.
    pub fn head_weights(&self) -> f64 {
        self.d_model.to_f64() * self.vocab_size.to_f64()
    }

    /// The floating-point operations of work that is counted in tokens, two per multiply-add.
    ///
    /// They are 2 · (weights of the parts that ran, once per count) + 4·h·e·`attended`: for each attended position,
    /// every query head computes a product of width e with the key and one with the value.
    pub fn flops(&self, tokens: &Counts) -> f64 {
        2.0 * self.weights_touched(tokens) + 4.0 * self.query_width() * tokens.attended.to_f64()
    }

    /// The bytes of weights that are read by work that is counted in launches.
    ///
    /// This assumes that a launch reads each of its matrices from memory once, as decoding does; less is read if
    /// weights stay in a processor's cache between launches.
    pub fn weight_bytes(&self, launches: &Counts) -> f64 {
        self.bytes_per_weight * self.weights_touched(launches)
    }

    /// The bytes of cached keys and values that are read and written by work that is counted in tokens, at
    /// `bytes_per_value` each.
    ///
    /// 2·g·e values are read per attended position, and 2·g·e written per token and layer whose keys and values were
    /// projected. The tokens of a pass may share reads, so this is an upper bound for prompts.
    pub fn kv_bytes(&self, tokens: &Counts, bytes_per_value: f64) -> f64 {
        let written = tokens.attention + tokens.kv_projections;
        2.0 * self.kv_width() * bytes_per_value * (tokens.attended + written).to_f64()
    }

    /// The counts, in tokens, of decoding `tokens` tokens at full depth after `context` cached ones, each with a head
    /// product.
    ///
    /// The i-th of them attends to `context` + i positions. All of them attend to n·c + n·(n + 1)/2 positions per
    /// layer, with n = `tokens` and c = `context`.
    pub fn full_counts(&self, tokens: u64, context: u64) -> Counts {
        let layers = self.n_layers as u64;
        let attended = layers * (tokens * context + tokens * (tokens + 1) / 2);
        let run = layers * tokens;
        Counts { attention: run, mlp: run, kv_projections: 0, head_products: tokens, attended }
    }

    /// The counts, in tokens, of a prompt's pass at full depth, with a head product for its last token only.
    pub fn prompt_counts(&self, tokens: u64) -> Counts {
        Counts { head_products: tokens.min(1), ..self.full_counts(tokens, 0) }
    }

    /// The counts, in launches, of `passes` passes at full depth, with one head product each.
    pub fn full_launches(&self, passes: u64) -> Counts {
        Counts { attended: 0, ..self.full_counts(passes, 0) }
    }

    /// The number of weights used, where each count uses the weights of its part once.
    fn weights_touched(&self, counts: &Counts) -> f64 {
        counts.attention.to_f64() * self.attention_weights()
            + counts.mlp.to_f64() * self.mlp_weights()
            + counts.kv_projections.to_f64() * self.kv_weights()
            + counts.head_products.to_f64() * self.head_weights()
    }

    /// Total width of the query heads.
    fn query_width(&self) -> f64 {
        self.n_heads.to_f64() * self.head_dim.to_f64()
    }

    /// Total width of the key heads, which is also that of the value heads.
    fn kv_width(&self) -> f64 {
        self.n_kv_heads.to_f64() * self.head_dim.to_f64()
    }
}
