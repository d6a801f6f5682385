//! Next-token distributions, one per row.

use crate::TensorError;
use crate::numbers::ToF64;
use crate::tensors::{check_same, check_size, read, read_finite};
use burn::tensor::{DType, Int, Tensor, TensorData, activation};

/// Log-probabilities of next tokens, `[tokens, vocab_size]`, on the device, in `f32`.
///
/// A logit of -∞ is a token of probability 0; NaN, +∞, and rows of -∞ alone are errors. All logarithms are natural:
/// entropies and divergences are in nats.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dynlayer_metrics::distributions::LogProbs;
///
/// let device = Device::flex();
/// let full = LogProbs::from_logits(Tensor::from_floats([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], &device))?;
/// let skipped = LogProbs::from_logits(Tensor::from_floats([[1.0, 2.0, 0.0], [5.0, 5.0, 5.0]], &device))?;
/// assert_eq!(full.top1_agreement(&skipped)?, [false, true]);
/// assert!(full.kl_divergence(&skipped)?[0] > 0.1);
/// assert!((full.entropy()?[1] - 3.0_f64.ln()).abs() < 1e-6);
/// assert!((full.nll(&[0, 2])?[1] - 3.0_f64.ln()).abs() < 1e-6);
/// # Ok::<(), dynlayer_metrics::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogProbs(Tensor<2>);

impl LogProbs {
    /// Converts logits, `[tokens, vocab_size]`, to distributions.
    ///
    /// # Errors
    ///
    /// [`TensorError::Empty`] if there are no tokens or no vocabulary, [`TensorError::NotFinite`] if a row is not a
    /// distribution.
    pub fn from_logits(logits: Tensor<2>) -> Result<Self, TensorError> {
        check_size("logits", logits.dims(), [1, 1])?;
        let log_probs = activation::log_softmax(logits.cast(DType::F32), 1);
        read_finite("the probabilities' sum", log_probs.clone().exp().sum_dim(1))?;
        Ok(Self(log_probs))
    }

    /// The log-probabilities, `[tokens, vocab_size]`.
    pub fn tensor(&self) -> &Tensor<2> {
        &self.0
    }

    /// Entropy per token: -Σ p ln p, from 0 to ln `vocab_size`.
    ///
    /// # Errors
    ///
    /// [`TensorError::Device`] if the device fails.
    pub fn entropy(&self) -> Result<Vec<f64>, TensorError> {
        let terms = weighted(self.0.clone().exp(), self.0.clone());
        read_finite("entropy", terms.sum_dim(1).neg().clamp_min(0.0))
    }

    /// Negative log-likelihood per token: -ln p(target).
    ///
    /// # Errors
    ///
    /// [`TensorError::Shapes`] unless there is one target per token, [`TensorError::Target`] for a target that is not
    /// in the vocabulary, [`TensorError::NotFinite`] for a target of probability 0.
    pub fn nll(&self, targets: &[u32]) -> Result<Vec<f64>, TensorError> {
        let [tokens, vocab_size] = self.0.dims();
        check_same("targets", [targets.len()], [tokens])?;
        if let Some(row) = targets.iter().position(|target| *target as usize >= vocab_size) {
            return Err(TensorError::Target { row, target: targets[row], vocab_size });
        }
        let ids: Vec<i64> = targets.iter().map(|target| i64::from(*target)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [tokens, 1]), &self.0.device());
        read_finite("negative log-likelihood", self.0.clone().gather(1, ids).neg())
    }

    /// Kullback-Leibler divergence per token from `other` to `self`: Σ p ln(p / q), with p of `self` and q of `other`.
    ///
    /// Use the full model as `self`. Results that rounding brings below 0 are set to 0; a divergence below about 1e-6
    /// nats is mostly rounding.
    ///
    /// # Errors
    ///
    /// [`TensorError::Shapes`] unless both have the same shape, [`TensorError::NotFinite`] if a token is possible in
    /// `self` and has probability 0 in `other`.
    pub fn kl_divergence(&self, other: &Self) -> Result<Vec<f64>, TensorError> {
        self.check(other)?;
        let terms = weighted(self.0.clone().exp(), self.0.clone() - other.0.clone());
        read_finite("KL divergence", terms.sum_dim(1).clamp_min(0.0))
    }

    /// Jensen-Shannon divergence per token, symmetric and at most ln 2: the mean of both distributions' KL divergences
    /// from their average (Lin 1991, "Divergence measures based on the Shannon entropy", equation 4.1, with equal
    /// weights).
    ///
    /// # Errors
    ///
    /// [`TensorError::Shapes`] unless both have the same shape.
    pub fn jensen_shannon_divergence(&self, other: &Self) -> Result<Vec<f64>, TensorError> {
        self.check(other)?;
        let (p, q) = (self.0.clone().exp(), other.0.clone().exp());
        // Half of the smallest `f32` above 0 rounds to 0, whose logarithm is infinite. The lower bound changes only
        // terms of means below it, which are less than 1e-36.
        let mean = ((p.clone() + q.clone()) / 2.0).clamp_min(f32::MIN_POSITIVE).log();
        let terms = weighted(p, self.0.clone() - mean.clone()) + weighted(q, other.0.clone() - mean);
        let values = read_finite("Jensen-Shannon divergence", terms.sum_dim(1) / 2.0)?;
        Ok(values.into_iter().map(|value| value.clamp(0.0, std::f64::consts::LN_2)).collect())
    }

    /// Returns, per token, true if both give the highest probability to the same token.
    ///
    /// # Errors
    ///
    /// [`TensorError::Shapes`] unless both have the same shape.
    pub fn top1_agreement(&self, other: &Self) -> Result<Vec<bool>, TensorError> {
        self.check(other)?;
        let same = self.0.clone().argmax(1).equal(other.0.clone().argmax(1)).float();
        Ok(read(same)?.into_iter().map(|same| same > 0.5).collect())
    }

    /// Returns, per token, the share of the k most probable tokens that are the same in both. Their order does not
    /// matter; the device decides which of equally probable tokens are among the k.
    ///
    /// # Errors
    ///
    /// [`TensorError::Shapes`] unless both have the same shape, [`TensorError::TopK`] if k is 0 or exceeds the
    /// vocabulary.
    pub fn top_k_overlap(&self, other: &Self, k: usize) -> Result<Vec<f64>, TensorError> {
        self.check(other)?;
        let [tokens, vocab_size] = self.0.dims();
        if k == 0 || k > vocab_size {
            return Err(TensorError::TopK { k, vocab_size });
        }
        let top = |log_probs: &Tensor<2>| log_probs.clone().topk_with_indices(k, 1).1;
        let (mine, others) = (top(&self.0).reshape([tokens, k, 1]), top(&other.0).reshape([tokens, 1, k]));
        let both = mine.expand([tokens, k, k]).equal(others.expand([tokens, k, k]));
        Ok(read(both.float().reshape([tokens, k * k]).sum_dim(1))?.into_iter().map(|n| n / k.to_f64()).collect())
    }

    fn check(&self, other: &Self) -> Result<(), TensorError> {
        check_same("the other distributions", other.0.dims(), self.0.dims())
    }
}

/// The product p · x, but 0 where p is 0: a token of probability 0 adds nothing, although its logarithm is infinite.
fn weighted(p: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    let never = p.clone().equal_elem(0.0);
    (p * x).mask_fill(never, 0.0)
}
