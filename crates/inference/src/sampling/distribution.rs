//! The distribution over the vocabulary that logits stand for.

use super::draw::largest;
use super::filter::Ranked;

/// The distribution that logits stand for, `p(i) = exp(logits[i]) / sum exp(logits)`, computed in `f64`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distribution<'a> {
    logits: &'a [f32],
    /// The index of the largest logit, the first among equals.
    likeliest: Option<usize>,
    most: f64,
    /// The logarithm of the sum of `exp(logit - most)`.
    log_sum: f64,
}

impl<'a> Distribution<'a> {
    pub(crate) fn new(logits: &'a [f32]) -> Self {
        let likeliest = largest(logits);
        let most = likeliest.map_or(0.0, |i| f64::from(logits[i]));
        let log_sum = logits.iter().map(|x| (f64::from(*x) - most).exp()).sum::<f64>().ln();
        Self { logits, likeliest, most, log_sum }
    }

    /// The natural logarithm of a token's probability.
    pub(crate) fn log_probability(&self, token: u32) -> f64 {
        let logit = usize::try_from(token).ok().and_then(|i| self.logits.get(i)).copied();
        self.of(logit.unwrap_or(f32::NEG_INFINITY))
    }

    fn of(&self, logit: f32) -> f64 {
        f64::from(logit) - self.most - self.log_sum
    }

    /// The entropy in nats.
    pub(crate) fn entropy(&self) -> f64 {
        let terms = self.logits.iter().map(|x| self.of(*x)).filter(|log| log.is_finite());
        terms.map(|log| -log * log.exp()).sum()
    }

    /// The difference between the two largest probabilities.
    pub(crate) fn gap(&self) -> f64 {
        let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for x in self.logits {
            if *x > first {
                (first, second) = (*x, first);
            } else if *x > second {
                second = *x;
            }
        }
        self.of(first).exp() - self.of(second).exp()
    }

    /// The `k` most probable tokens with their log-probabilities, in descending order; equal ones in the order of their
    /// ids.
    pub(crate) fn likeliest(&self, k: usize) -> Vec<(u32, f64)> {
        let with_log = |(token, logit)| Some((u32::try_from(token).ok()?, self.of(logit)));
        if k <= 1 {
            // Scoring asks for one, which needs no order.
            return self.likeliest.filter(|_| k == 1).and_then(|i| with_log((i, self.logits[i]))).into_iter().collect();
        }
        let mut ranked = Ranked::new(self.logits, None);
        (0..k).map_while(|rank| ranked.get(rank)).filter_map(with_log).collect()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "equal computations give equal bits")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_measures_are_their_definitions(logits in prop::collection::vec(-20f32..20.0, 1..40), k in 0usize..5) {
            let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
            let p: Vec<f64> = logits.iter().map(|x| f64::from(*x).exp() / total).collect();
            let found = Distribution::new(&logits);
            let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
            prop_assert!((found.entropy() - entropy).abs() < 1e-9);
            let mut sorted = p.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let gap = sorted[0] - sorted.get(1).copied().unwrap_or(0.0);
            prop_assert!((found.gap() - gap).abs() < 1e-9);
            for (token, p) in (0..).zip(&p) {
                prop_assert!((found.log_probability(token) - p.ln()).abs() < 1e-9);
            }
            let likeliest = found.likeliest(k);
            prop_assert_eq!(likeliest.len(), k.min(logits.len()));
            for ((token, log), p) in likeliest.iter().zip(&sorted) {
                prop_assert!((log.exp() - p).abs() < 1e-9);
                prop_assert_eq!(*log, found.log_probability(*token));
            }
        }
    }

    #[test]
    fn a_token_without_probability_adds_nothing() {
        let found = Distribution::new(&[0.0, f32::NEG_INFINITY, 0.0]);
        assert!((found.entropy() - 2f64.ln()).abs() < 1e-12);
        assert_eq!(found.log_probability(1), f64::NEG_INFINITY);
        assert_eq!(found.gap(), 0.0);
    }
}
