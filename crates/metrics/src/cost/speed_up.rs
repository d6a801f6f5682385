//! Speed-up from times measured in pairs.

use crate::statistics::{Bootstrap, Interval, StatisticsError, check_values};
use serde::{Deserialize, Serialize};

/// Speed-up of a method over a baseline: the baseline's time divided by the method's. It is above 1 if the method is
/// faster.
///
/// Times come in pairs measured one after the other, so that other load on the machine slows both. Each pair
/// gives one ratio; the bootstrap draws pairs.
///
/// ```
/// use dynlayer_metrics::cost::SpeedUp;
/// use dynlayer_metrics::statistics::Bootstrap;
///
/// // Seconds per round; the machine was busy in the third.
/// let speed_up = SpeedUp::new(&[2.0, 2.2, 4.4, 2.0], &[1.0, 1.0, 2.0, 1.0], &Bootstrap::new(1))?;
/// assert!((speed_up.geometric_mean.estimate - 2.0976).abs() < 1e-3);
/// assert!((speed_up.of_medians - 2.1).abs() < 1e-12);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpeedUp {
    /// The geometric mean of the pairs' ratios. Inverting all ratios inverts it (Fleming and Wallace
    /// 1986, "How not to lie with statistics: the correct way to summarize benchmark results").
    pub geometric_mean: Interval,
    /// The baseline's total time divided by the method's.
    pub of_totals: Interval,
    /// The baseline's median time divided by the method's.
    pub of_medians: f64,
    /// Number of pairs.
    pub pairs: usize,
}

impl SpeedUp {
    /// The speed-up of `method` over `baseline`, times in the same unit, pair by pair.
    ///
    /// # Errors
    ///
    /// If the lists differ in length or are empty, a time is not finite and above 0, or the options are out of range.
    pub fn new(baseline: &[f64], method: &[f64], bootstrap: &Bootstrap) -> Result<Self, StatisticsError> {
        for (what, times) in [("the baseline's times", baseline), ("the method's times", method)] {
            check_values(what, times)?;
            if let Some(time) = times.iter().find(|time| **time <= 0.0) {
                return Err(StatisticsError::Option { option: what, found: *time, expected: "a time above 0" });
            }
        }
        let of_totals = bootstrap.ratio(baseline, method)?;
        let logs: Vec<f64> = baseline.iter().zip(method).map(|(baseline, method)| (baseline / method).ln()).collect();
        let Interval { low, estimate, high } = bootstrap.mean(&logs)?;
        let geometric_mean = Interval { low: low.exp(), estimate: estimate.exp(), high: high.exp() };
        Ok(Self { geometric_mean, of_totals, of_medians: median(baseline) / median(method), pairs: baseline.len() })
    }

    /// The largest possible speed-up if `fraction` of the time is spent in parts of which the share `kept` still runs
    /// (Amdahl 1967): 1 / (1 - fraction + fraction·kept).
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Option`] unless both are from 0 to 1 and the remaining time is above 0.
    pub fn bound(fraction: f64, kept: f64) -> Result<f64, StatisticsError> {
        for (option, found) in [("fraction", fraction), ("kept", kept)] {
            if !(0.0..=1.0).contains(&found) {
                return Err(StatisticsError::Option { option, found, expected: "a number from 0 to 1" });
            }
        }
        let left = 1.0 - fraction + fraction * kept;
        if left <= 0.0 {
            let expected = "a number that leaves some time to run";
            return Err(StatisticsError::Option { option: "kept", found: kept, expected });
        }
        Ok(1.0 / left)
    }
}

/// The median of at least one value, all finite.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] }
}

#[cfg(test)]
mod tests {
    use super::{SpeedUp, median};
    use crate::statistics::Bootstrap;

    #[test]
    fn swapping_inverts() {
        let (a, b) = ([2.0, 3.0, 5.0], [1.0, 2.5, 2.0]);
        let bootstrap = Bootstrap::new(2);
        let (ab, ba) = (SpeedUp::new(&a, &b, &bootstrap).unwrap(), SpeedUp::new(&b, &a, &bootstrap).unwrap());
        assert!((ab.geometric_mean.estimate * ba.geometric_mean.estimate - 1.0).abs() < 1e-12);
        assert!((ab.geometric_mean.low * ba.geometric_mean.high - 1.0).abs() < 1e-9);
        assert!((ab.of_totals.estimate - 10.0 / 5.5).abs() < 1e-12);
        assert!((ab.of_medians - 1.5).abs() < 1e-12);
    }

    #[test]
    fn medians() {
        let values = [0.0, 2.0, 4.0, 1.0, 3.0];
        assert_eq!((median(&values), median(&values[..4])), (2.0, 1.5));
    }

    #[test]
    fn bounds() {
        assert!((SpeedUp::bound(0.8, 0.5).unwrap() - 1.0 / 0.6).abs() < 1e-12);
        assert!(SpeedUp::bound(1.0, 0.0).is_err() && SpeedUp::bound(1.5, 0.0).is_err());
    }

    #[test]
    fn invalid_times_are_refused() {
        let bootstrap = Bootstrap::new(2);
        for bad in [&[0.0][..], &[-1.0], &[f64::NAN], &[], &[1.0, 2.0]] {
            assert!(SpeedUp::new(bad, &[1.0], &bootstrap).is_err(), "{bad:?}");
        }
    }
}
