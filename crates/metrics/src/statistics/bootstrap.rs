//! Bootstrap confidence intervals.

use super::{StatisticsError, check_values};
use crate::numbers::{ToF64, index};
use crate::random;
use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// An estimate with a confidence interval.
///
/// An interval needs at least two items: one item says nothing of how much items differ. The bounds of a mean of one
/// item are therefore infinite. Such a bound is `null` in JSON, and `Display` writes "unknown: one item" for the bounds.
///
/// ```
/// use dynlayer_metrics::statistics::{Bootstrap, Interval};
///
/// let one = Bootstrap::new(1).mean(&[0.5])?;
/// assert_eq!(one, Interval { low: f64::NEG_INFINITY, estimate: 0.5, high: f64::INFINITY });
/// assert_eq!(format!("{one:.2}"), "0.50 [unknown: one item]");
/// assert_eq!(format!("{:.2}", Interval { low: 0.25, estimate: 0.5, high: 1.0 }), "0.50 [0.25, 1.00]");
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower bound.
    #[serde(deserialize_with = "lower")]
    pub low: f64,
    /// The statistic of the original data.
    pub estimate: f64,
    /// The upper bound.
    #[serde(deserialize_with = "upper")]
    pub high: f64,
}

/// Reads a lower bound, which is `null` where it is infinite.
fn lower<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NEG_INFINITY))
}

/// Reads an upper bound, which is `null` where it is infinite.
fn upper<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

impl Interval {
    /// Returns true if a value lies within the interval, its bounds included.
    pub fn covers(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Returns true if the bounds are finite, that is, if there were at least two items.
    pub fn is_known(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }
}

impl fmt::Display for Interval {
    /// Writes the estimate and the bounds, with 4 decimals unless a precision is given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, estimate, high } = self;
        let digits = f.precision().unwrap_or(4);
        if self.is_known() {
            write!(f, "{estimate:.digits$} [{low:.digits$}, {high:.digits$}]")
        } else {
            write!(f, "{estimate:.digits$} [unknown: one item]")
        }
    }
}

/// Percentile bootstrap intervals (Efron and Tibshirani 1993, "An introduction to the bootstrap", section 13.3).
///
/// Each resample draws as many items as the data have, with replacement, and the statistic is computed from it. The
/// bounds are quantiles of these values, interpolated linearly. The draws depend only on the seed and the number of
/// items, so all statistics of the same items are computed on the same resamples.
///
/// All resamples of one item are the same, so its interval has infinite bounds. For a few items the intervals are too
/// narrow, since the resamples hold no values beyond those that were measured.
///
/// ```
/// use dynlayer_metrics::statistics::Bootstrap;
///
/// let bootstrap = Bootstrap { resamples: 2000, ..Bootstrap::new(1) };
/// let mean = bootstrap.mean(&[0.2, 0.4, 0.9, 0.5])?;
/// assert_eq!(mean.estimate, 0.5);
/// assert!(0.2 < mean.low && mean.high < 0.9);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// The number of resamples.
    pub resamples: usize,
    /// The share of resampled values that the interval covers, between 0 and 1.
    pub confidence: f64,
    /// The seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// A bootstrap with 1,000 resamples, a confidence of 95 % and seed 0.
    fn default() -> Self {
        Self::new(0)
    }
}

impl Bootstrap {
    /// A bootstrap with 1,000 resamples and a confidence of 95 %, the defaults of rouge-score.
    pub fn new(seed: u64) -> Self {
        Self { resamples: 1000, confidence: 0.95, seed }
    }

    /// The interval of a mean.
    ///
    /// # Errors
    ///
    /// If there are no values, one is not finite, or an option is out of range.
    pub fn mean(&self, values: &[f64]) -> Result<Interval, StatisticsError> {
        check_values("values", values)?;
        let n = values.len().to_f64();
        self.statistic(values.len(), |items| items.iter().map(|&item| values[item]).sum::<f64>() / n)
    }

    /// The interval of a ratio of sums, such as tokens per second or the token-weighted mean of a set: Σ numerators / Σ
    /// denominators.
    ///
    /// # Errors
    ///
    /// As for [`Self::mean`], and if the lists differ in length or a resample's denominators add up to 0.
    pub fn ratio(&self, numerators: &[f64], denominators: &[f64]) -> Result<Interval, StatisticsError> {
        check_values("numerators", numerators)?;
        check_values("denominators", denominators)?;
        if numerators.len() != denominators.len() {
            let (found, expected) = (denominators.len(), numerators.len());
            return Err(StatisticsError::Lengths { what: "numerators and denominators", found, expected });
        }
        self.statistic(numerators.len(), |items| {
            let sum = |values: &[f64]| items.iter().map(|&item| values[item]).sum::<f64>();
            sum(numerators) / sum(denominators)
        })
    }

    /// The interval of any statistic of `items` items. `statistic` gets the indices of the items that were drawn.
    ///
    /// # Errors
    ///
    /// If there are no items, an option is out of range, or the statistic is not finite.
    pub fn statistic(
        &self,
        items: usize,
        mut statistic: impl FnMut(&[usize]) -> f64,
    ) -> Result<Interval, StatisticsError> {
        self.check(items)?;
        let estimate = statistic(&(0..items).collect::<Vec<_>>());
        let mut values = Vec::with_capacity(self.resamples);
        self.each_resample(items, |drawn| values.push(statistic(drawn)));
        check_values("the statistic's values", &[estimate])?;
        check_values("the statistic's resampled values", &values)?;
        let (low, high) = self.percentiles(items, values);
        Ok(Interval { low, estimate, high })
    }

    /// The two quantiles between which `confidence` of the values lie, each from a resample of `items` items.
    pub(crate) fn percentiles(&self, items: usize, mut values: Vec<f64>) -> (f64, f64) {
        if items < 2 {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        (quantile(&values, tail), quantile(&values, 1.0 - tail))
    }

    /// Returns an error if an option is out of range or there are no items.
    pub(crate) fn check(&self, items: usize) -> Result<(), StatisticsError> {
        if items == 0 {
            return Err(StatisticsError::TooFew { what: "items", found: 0, needed: 1 });
        }
        if self.resamples == 0 {
            return Err(StatisticsError::TooFew { what: "resamples", found: 0, needed: 1 });
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            let expected = "a number between 0 and 1";
            return Err(StatisticsError::Option { option: "confidence", found: self.confidence, expected });
        }
        Ok(())
    }

    /// Calls `each` with the items of every resample.
    pub(crate) fn each_resample(&self, items: usize, mut each: impl FnMut(&[usize])) {
        let mut draw = random::at(random::RESAMPLES, self.seed, [items as u64, 0, 0]);
        let mut drawn = vec![0; items];
        for _ in 0..self.resamples {
            for item in &mut drawn {
                *item = draw.random_range(0..items);
            }
            each(&drawn);
        }
    }
}

/// A quantile of sorted values, interpolated linearly between neighbours (type 7 of Hyndman and Fan 1996; numpy's
/// default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1).to_f64();
    let below = index(at);
    let next = sorted[(below + 1).min(sorted.len() - 1)];
    sorted[below] + at.fract() * (next - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::{Bootstrap, quantile};
    use crate::statistics::StatisticsError;
    use proptest::prelude::*;

    proptest! {
        /// Intervals lie within the values, around the mean, and move and scale with them.
        #[test]
        fn intervals_follow_the_values(
            values in prop::collection::vec(-100.0..100.0_f64, 2..30), scale in 0.01..100.0_f64, by in -50.0..50.0_f64,
        ) {
            let bootstrap = Bootstrap { resamples: 100, ..Bootstrap::new(9) };
            let found = bootstrap.mean(&values).unwrap();
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(l, m), x| (l.min(*x), m.max(*x)));
            prop_assert!(least - 1e-9 <= found.low && found.low <= found.high && found.high <= most + 1e-9);
            let changed: Vec<f64> = values.iter().map(|x| x * scale + by).collect();
            let of_changed = bootstrap.mean(&changed).unwrap();
            for (plain, changed) in [
                (found.low, of_changed.low), (found.estimate, of_changed.estimate), (found.high, of_changed.high),
            ] {
                prop_assert!((plain * scale + by - changed).abs() < 1e-9 * scale.max(1.0) * 100.0);
            }
            // The ratio to a constant is the mean divided by the constant.
            let ones = vec![2.0; values.len()];
            let ratio = bootstrap.ratio(&values, &ones).unwrap();
            prop_assert!((ratio.low * 2.0 - found.low).abs() < 1e-9 && (ratio.high * 2.0 - found.high).abs() < 1e-9);
        }
    }

    #[test]
    fn quantiles_interpolate() {
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|share| quantile(&values, share)), [1.0, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[3.0], 0.3), 3.0);
    }

    /// The interval of a mean is near the normal one for many items: ±1.96 standard errors.
    #[test]
    fn intervals_of_means_have_the_textbook_width() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let interval = Bootstrap { resamples: 4000, ..Bootstrap::new(3) }.mean(&values).unwrap();
        let variance = values.iter().map(|x| (x - 9.5).powi(2)).sum::<f64>() / 400.0;
        let half = 1.96 * (variance / 400.0).sqrt();
        assert_eq!(interval.estimate, 9.5);
        assert!(((interval.high - 9.5) / half - 1.0).abs() < 0.08, "{interval:?}, {half}");
        assert!(((9.5 - interval.low) / half - 1.0).abs() < 0.08, "{interval:?}, {half}");
    }

    /// 95 % intervals cover the true mean about 95 times in 100: of 300 samples of 60, between 265 and 297.
    #[test]
    fn intervals_cover() {
        use rand::{Rng, SeedableRng};
        let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let covered = (0..300)
            .filter(|&seed| {
                let values: Vec<f64> = (0..60).map(|_| draw.random::<f64>()).collect();
                let interval = Bootstrap { resamples: 400, ..Bootstrap::new(seed) }.mean(&values).unwrap();
                interval.low <= 0.5 && 0.5 <= interval.high
            })
            .count();
        assert!((265..=297).contains(&covered), "{covered}");
    }

    #[test]
    fn one_item_has_no_bounds() {
        let bootstrap = Bootstrap::new(1);
        let mean = bootstrap.mean(&[0.25]).unwrap();
        assert!((mean.estimate, mean.is_known(), mean.covers(1e300)) == (0.25, false, true), "{mean}");
        assert!(!bootstrap.ratio(&[1.0], &[2.0]).unwrap().is_known());
        assert!(bootstrap.mean(&[0.25, 0.5]).unwrap().is_known());
        let json = serde_json::to_string(&mean).unwrap();
        assert_eq!(json, r#"{"low":null,"estimate":0.25,"high":null}"#);
        assert_eq!(serde_json::from_str::<super::Interval>(&json).unwrap(), mean);
        assert!(serde_json::from_str::<super::Interval>(r#"{"estimate":0.25}"#).is_err(), "bounds are not optional");
    }

    #[test]
    fn the_seed_decides() {
        let values = [0.1, 0.5, 0.7, 0.2, 0.9];
        assert_eq!(Bootstrap::new(1).mean(&values), Bootstrap::new(1).mean(&values));
        assert_ne!(Bootstrap::new(1).mean(&values), Bootstrap::new(2).mean(&values));
    }

    #[test]
    fn invalid_values_and_options_are_refused() {
        let bootstrap = Bootstrap::new(1);
        assert!(matches!(bootstrap.mean(&[]), Err(StatisticsError::TooFew { found: 0, .. })));
        assert!(matches!(bootstrap.mean(&[1.0, f64::NAN]), Err(StatisticsError::NotFinite { index: 1, .. })));
        assert!(matches!(Bootstrap { resamples: 0, ..bootstrap }.mean(&[1.0]), Err(StatisticsError::TooFew { .. })));
        for confidence in [0.0, 1.0, f64::NAN] {
            let refused = Bootstrap { confidence, ..bootstrap }.mean(&[1.0]);
            assert!(matches!(refused, Err(StatisticsError::Option { option: "confidence", .. })));
        }
        assert!(matches!(bootstrap.ratio(&[1.0], &[0.0]), Err(StatisticsError::NotFinite { .. })));
        assert!(matches!(bootstrap.ratio(&[1.0], &[1.0, 2.0]), Err(StatisticsError::Lengths { .. })));
    }
}
