//! A test of two methods on the same items.

use super::{Bootstrap, Interval, StatisticsError, check_values};
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// The result of [`paired_bootstrap`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PairedTest {
    /// Mean over items of the first method's score minus the second's.
    pub difference: Interval,
    /// Share of resamples in which the first method's mean is higher; ties count half. Of one item it is 0, 0.5 or 1,
    /// and says nothing.
    pub wins: f64,
    /// Two-sided p-value of the hypothesis that the mean difference is 0; 1 for one item.
    pub p_value: f64,
}

/// Compares two methods on the same items by resampling items, so that items that are hard for both do not blur the
/// difference.
///
/// `wins` is Koehn's statistic (2004, "Statistical significance tests for machine translation evaluation", section 4).
/// `p_value` is the bootstrap test of a mean (Efron and Tibshirani 1993, section 16.4): differences are shifted to mean
/// 0, and p = (1 + #{|resampled mean| ≥ |observed mean|}) / (1 + resamples). It is at least 1 / (1 + resamples), and at
/// least 2^(1 - n) for n items: without a difference, all n items favour the same method that often. So one item, whose
/// spread is unknown, gives 1, and differences that are all equal count as much as their number allows. The test is not
/// reliable for fewer than about 20 items.
///
/// ```
/// use dynlayer_metrics::statistics::{Bootstrap, paired_bootstrap};
///
/// let skipping: Vec<f64> = (0..40).map(|i| f64::from(i % 7) + 0.5).collect();
/// let exiting: Vec<f64> = (0..40).map(|i| f64::from(i % 7) + f64::from(i % 2) * 0.2).collect();
/// let test = paired_bootstrap(&skipping, &exiting, &Bootstrap::new(5))?;
/// assert!((test.difference.estimate - 0.4).abs() < 1e-12);
/// assert!(test.p_value < 0.01 && test.wins == 1.0);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
///
/// # Errors
///
/// If the lists differ in length or are empty, a value is not finite, or the options are out of range.
pub fn paired_bootstrap(first: &[f64], second: &[f64], bootstrap: &Bootstrap) -> Result<PairedTest, StatisticsError> {
    check_values("the first method's scores", first)?;
    check_values("the second method's scores", second)?;
    if first.len() != second.len() {
        let (found, expected) = (second.len(), first.len());
        return Err(StatisticsError::Lengths { what: "the two methods' scores", found, expected });
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let difference = bootstrap.mean(&differences)?;
    let n = differences.len().to_f64();
    let (mut wins, mut extreme) = (0.0, 0_usize);
    // Sums in another order differ by rounding, which must not break ties.
    let rounding = 1e-12 * differences.iter().fold(0.0_f64, |most, d| most.max(d.abs()));
    bootstrap.each_resample(differences.len(), |drawn| {
        let mean = drawn.iter().map(|&item| differences[item]).sum::<f64>() / n;
        wins += if mean.abs() <= rounding { 0.5 } else { f64::from(u8::from(mean > 0.0)) };
        extreme += usize::from((mean - difference.estimate).abs() >= difference.estimate.abs() - rounding);
    });
    let resamples = bootstrap.resamples.to_f64();
    let p_value = (extreme + 1).to_f64() / (1.0 + resamples);
    // 2^(1 - n), the least p-value of a test of n signs. The bootstrap alone would take n equal differences for certain.
    let p_value = p_value.max((1.0 - n).exp2());
    Ok(PairedTest { difference, wins: wins / resamples, p_value })
}

#[cfg(test)]
mod tests {
    use super::paired_bootstrap;
    use crate::statistics::{Bootstrap, StatisticsError};
    use rand::{Rng, SeedableRng};

    #[test]
    fn equal_methods_do_not_differ() {
        let scores = [0.3, 0.1, 0.8, 0.9];
        let test = paired_bootstrap(&scores, &scores, &Bootstrap::new(1)).unwrap();
        assert_eq!((test.difference.estimate, test.wins, test.p_value), (0.0, 0.5, 1.0));
    }

    #[test]
    fn a_few_items_prove_little() {
        for (items, least) in [(1, 1.0), (2, 0.5), (5, 0.0625), (10, 1.0 / 512.0), (40, 1.0 / 1001.0)] {
            let test = paired_bootstrap(&vec![1.0; items], &vec![0.0; items], &Bootstrap::new(1)).unwrap();
            assert!((test.p_value - least).abs() < 1e-12, "{items} items: {}", test.p_value);
            assert_eq!(test.difference.is_known(), items > 1);
        }
    }

    #[test]
    fn swapping_the_methods_mirrors_the_test() {
        let (a, b) = ([0.3, 0.1, 0.8, 0.9, 0.4], [0.2, 0.3, 0.5, 0.6, 0.1]);
        let bootstrap = Bootstrap::new(1);
        let (ab, ba) = (paired_bootstrap(&a, &b, &bootstrap).unwrap(), paired_bootstrap(&b, &a, &bootstrap).unwrap());
        assert_eq!(ab.p_value, ba.p_value);
        assert!((ab.wins + ba.wins - 1.0).abs() < 1e-12);
        assert!((ab.difference.low + ba.difference.high).abs() < 1e-12);
    }

    /// Without a difference about 5 % of tests still find one at the level of 5 %: of 400, between 8 and 36.
    #[test]
    fn false_alarms_are_as_rare_as_they_should_be() {
        let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let alarms = (0..400)
            .filter(|&seed| {
                let items: Vec<(f64, f64)> = (0..50).map(|_| (draw.random(), draw.random())).collect();
                let (a, b): (Vec<f64>, Vec<f64>) = items.into_iter().unzip();
                paired_bootstrap(&a, &b, &Bootstrap { resamples: 300, ..Bootstrap::new(seed) }).unwrap().p_value <= 0.05
            })
            .count();
        assert!((8..=36).contains(&alarms), "{alarms}");
    }

    #[test]
    fn unequal_lists_are_refused() {
        let refused = paired_bootstrap(&[1.0, 2.0], &[1.0], &Bootstrap::new(1));
        assert!(matches!(refused, Err(StatisticsError::Lengths { found: 1, expected: 2, .. })));
        assert!(paired_bootstrap(&[f64::NAN], &[1.0], &Bootstrap::new(1)).is_err());
    }
}
