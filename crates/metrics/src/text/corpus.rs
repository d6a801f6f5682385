//! Mean scores of a corpus.

use super::{RougeScores, RougeVariant, Score};
use crate::statistics::{Bootstrap, Interval, StatisticsError};
use serde::{Deserialize, Serialize};

/// Mean precision, recall and F1 over a corpus, with confidence intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreIntervals {
    /// Mean precision.
    pub precision: Interval,
    /// Mean recall.
    pub recall: Interval,
    /// Mean F1, which is not the F1 of the means.
    pub f1: Interval,
}

/// Mean scores of all variants of ROUGE over a corpus, with confidence intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RougeIntervals {
    /// Shared words.
    pub rouge1: ScoreIntervals,
    /// Shared pairs of neighbouring words.
    pub rouge2: ScoreIntervals,
    /// The longest common subsequence of whole texts.
    #[serde(rename = "rougeL")]
    pub rouge_l: ScoreIntervals,
    /// Unions of longest common subsequences of lines.
    #[serde(rename = "rougeLsum")]
    pub rouge_lsum: ScoreIntervals,
}

/// Mean precision, recall and F1 over items, computed on the same resamples.
///
/// # Errors
///
/// If there are no scores, one is not finite, or an option is out of range.
pub fn aggregate_scores(scores: &[Score], bootstrap: &Bootstrap) -> Result<ScoreIntervals, StatisticsError> {
    let mean = |part: fn(&Score) -> f64| bootstrap.mean(&scores.iter().map(part).collect::<Vec<_>>());
    Ok(ScoreIntervals { precision: mean(|s| s.precision)?, recall: mean(|s| s.recall)?, f1: mean(|s| s.f1)? })
}

/// Mean scores over items for all variants of ROUGE, computed on the same resamples.
///
/// rouge-score's `BootstrapAggregator` draws in the same way; its `mid` is the median of the resampled means, while the
/// estimate here is the mean itself.
///
/// ```
/// use dynlayer_metrics::statistics::Bootstrap;
/// use dynlayer_metrics::text::{Rouge, aggregate_rouge};
///
/// let pairs = [("the cat sat", "the cat sat"), ("it rains", "snow")];
/// let scores: Vec<_> = pairs.iter().map(|(reference, text)| Rouge::plain().score(reference, text)).collect();
/// assert_eq!(aggregate_rouge(&scores, &Bootstrap::new(1))?.rouge_l.f1.estimate, 0.5);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
///
/// # Errors
///
/// If there are no scores, one is not finite, or an option is out of range.
pub fn aggregate_rouge(scores: &[RougeScores], bootstrap: &Bootstrap) -> Result<RougeIntervals, StatisticsError> {
    let of = |variant| aggregate_scores(&scores.iter().map(|s| s.get(variant)).collect::<Vec<_>>(), bootstrap);
    Ok(RougeIntervals {
        rouge1: of(RougeVariant::Rouge1)?,
        rouge2: of(RougeVariant::Rouge2)?,
        rouge_l: of(RougeVariant::RougeL)?,
        rouge_lsum: of(RougeVariant::RougeLsum)?,
    })
}
