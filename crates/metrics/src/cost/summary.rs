//! Cost per token, and as fractions of the full model's cost.

use super::{Counts, Dimensions};
use crate::numbers::ToF64;
use crate::statistics::StatisticsError;
use serde::{Deserialize, Serialize};

/// The work done for some tokens, counted in tokens and in launches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Number of tokens.
    pub tokens: u64,
    /// Counts in tokens.
    pub work: Counts,
    /// Counts in launches.
    pub launches: Counts,
}

impl Usage {
    /// The work of decoding one sequence at full depth: `tokens` tokens after `context` cached ones, with one pass per
    /// token.
    pub fn full(dimensions: &Dimensions, tokens: u64, context: u64) -> Self {
        let work = dimensions.full_counts(tokens, context);
        Self { tokens, work, launches: dimensions.full_launches(tokens) }
    }
}

/// Cost per token, and as fractions of the full model's cost.
///
/// ```
/// use dynlayer_metrics::cost::{CostSummary, Dimensions, Usage};
///
/// # let (n_layers, d_model, d_ff) = (4, 64, 256);
/// # let dimensions = Dimensions { n_layers, d_model, d_ff, n_heads: 4, n_kv_heads: 2, head_dim: 16, vocab_size: 512,
/// #     bytes_per_weight: 4.0 };
/// let full = Usage::full(&dimensions, 10, 100);
/// // Half of the layers ran; the others projected keys and values.
/// let mut half = full;
/// for counts in [&mut half.work, &mut half.launches] {
///     counts.kv_projections = counts.attention / 2;
///     counts.attention /= 2;
///     counts.mlp /= 2;
///     counts.attended /= 2;
/// }
/// let summary = CostSummary::new(&dimensions, &half, &full)?;
/// assert_eq!(summary.layer_fraction, 0.5);
/// assert!(summary.flops_fraction > 0.5); // keys, values and the head are not halved
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CostSummary {
    /// Layers run per token.
    pub layers: f64,
    /// Attention sublayers run per token.
    pub attention: f64,
    /// MLP sublayers run per token.
    pub mlp: f64,
    /// Projections of keys and values for skipped attention, per token.
    pub kv_projections: f64,
    /// Head products per token.
    pub head_products: f64,
    /// Floating-point operations per token.
    pub flops: f64,
    /// Bytes of weights read per token.
    pub weight_bytes: f64,
    /// `layers` divided by the full model's.
    pub layer_fraction: f64,
    /// `flops` divided by the full model's.
    pub flops_fraction: f64,
    /// `weight_bytes` divided by the full model's.
    pub weight_bytes_fraction: f64,
}

impl CostSummary {
    /// The cost of `ran`, compared with `full`: the same tokens at full depth, in the same batches.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::TooFew`] if there are no tokens or the full model has a cost of 0,
    /// [`StatisticsError::Lengths`] if the numbers of tokens differ, [`StatisticsError::Option`] unless
    /// `bytes_per_weight` is a finite number above 0.
    pub fn new(dimensions: &Dimensions, ran: &Usage, full: &Usage) -> Result<Self, StatisticsError> {
        if ran.tokens == 0 {
            return Err(StatisticsError::TooFew { what: "tokens", found: 0, needed: 1 });
        }
        if ran.tokens != full.tokens {
            let length = |tokens| usize::try_from(tokens).unwrap_or(usize::MAX);
            let (found, expected) = (length(full.tokens), length(ran.tokens));
            return Err(StatisticsError::Lengths { what: "tokens of the run and of the full model", found, expected });
        }
        let bytes_per_weight = dimensions.bytes_per_weight;
        if !(bytes_per_weight > 0.0 && bytes_per_weight.is_finite()) {
            let (option, expected) = ("bytes_per_weight", "a finite number above 0");
            return Err(StatisticsError::Option { option, found: bytes_per_weight, expected });
        }
        let fraction = |what, cost: f64, of: f64| {
            if of > 0.0 { Ok(cost / of) } else { Err(StatisticsError::TooFew { what, found: 0, needed: 1 }) }
        };
        let per_token = |count: u64| count.to_f64() / ran.tokens.to_f64();
        let (flops, full_flops) = (dimensions.flops(&ran.work), dimensions.flops(&full.work));
        let (bytes, full_bytes) = (dimensions.weight_bytes(&ran.launches), dimensions.weight_bytes(&full.launches));
        Ok(Self {
            layers: ran.work.layers() / ran.tokens.to_f64(),
            attention: per_token(ran.work.attention),
            mlp: per_token(ran.work.mlp),
            kv_projections: per_token(ran.work.kv_projections),
            head_products: per_token(ran.work.head_products),
            flops: flops / ran.tokens.to_f64(),
            weight_bytes: bytes / ran.tokens.to_f64(),
            layer_fraction: fraction("layers of the full model", ran.work.layers(), full.work.layers())?,
            flops_fraction: fraction("operations of the full model", flops, full_flops)?,
            weight_bytes_fraction: fraction("bytes of the full model", bytes, full_bytes)?,
        })
    }
}
