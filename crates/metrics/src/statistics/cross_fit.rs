//! Corrections for the winner's curse: the best of several noisy scores is too high on average, because the choice also
//! selects lucky noise.
//!
//! Cross-fitting chooses on one part of the data and scores on another (Chernozhukov et al. 2018, "Double/debiased
//! machine learning", definition 3.1, for the idea in general).

use super::{StatisticsError, check_values};
use crate::numbers::ToF64;
use crate::random;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// A split of items into one part to make a choice with, and another to score it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// The items to choose with, ascending.
    pub choose: Vec<usize>,
    /// The items to score the choice with, ascending.
    pub score: Vec<usize>,
}

/// Splits `items` items into `k` folds, shuffled by the seed. Every item is in the `score` part of one fold, and in the
/// `choose` part of all others.
///
/// ```
/// use dynlayer_metrics::statistics::folds;
///
/// let folds = folds(10, 3, 7)?;
/// assert_eq!(folds.iter().map(|fold| fold.score.len()).collect::<Vec<_>>(), [4, 3, 3]);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
///
/// # Errors
///
/// If there are fewer than two folds, or fewer items than folds.
pub fn folds(items: usize, k: usize, seed: u64) -> Result<Vec<Fold>, StatisticsError> {
    if k < 2 {
        return Err(StatisticsError::TooFew { what: "folds", found: k, needed: 2 });
    }
    if items < k {
        return Err(StatisticsError::TooFew { what: "items", found: items, needed: k });
    }
    let mut order: Vec<usize> = (0..items).collect();
    order.shuffle(&mut random::at(random::FOLDS, seed, [items as u64, k as u64, 0]));
    let mut fold_of = vec![0; items];
    for (place, item) in order.into_iter().enumerate() {
        fold_of[item] = place % k;
    }
    Ok((0..k).map(|fold| split(&fold_of, fold)).collect())
}

/// Splits a sequence's tokens into odd and even positions. Each half is the part to choose with in one fold, and the
/// part to score with in the other. Use it on losses per token of a sequence that has no second sample.
///
/// Neighbouring tokens are not independent, so this removes less of the optimism than two samples do.
///
/// # Errors
///
/// If there are fewer than two tokens.
pub fn odd_even(tokens: usize) -> Result<[Fold; 2], StatisticsError> {
    if tokens < 2 {
        return Err(StatisticsError::TooFew { what: "tokens", found: tokens, needed: 2 });
    }
    let parity: Vec<usize> = (0..tokens).map(|token| token % 2).collect();
    Ok([split(&parity, 0), split(&parity, 1)])
}

fn split(fold_of: &[usize], fold: usize) -> Fold {
    let (score, choose) = (0..fold_of.len()).partition(|&item| fold_of[item] == fold);
    Fold { choose, score }
}

/// The score of the best of several, with and without the winner's curse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrossFitted {
    /// Score of a choice made on the same data, which is too high on average.
    pub naive: f64,
    /// Score of choices made on other parts of the data, averaged over the parts. Such a choice is made with less data,
    /// so this is a little too low.
    pub corrected: f64,
}

impl CrossFitted {
    /// The part of the naive score that was luck.
    pub fn optimism(&self) -> f64 {
        self.naive - self.corrected
    }
}

/// Scores the best of several candidates for one item, from two independent scores of each (higher is better).
///
/// The corrected score is the average of choosing by the first scores and scoring by the second, and the reverse; the
/// naive one is the best of the means of both. Ties go to the earlier candidate.
///
/// ```
/// use dynlayer_metrics::statistics::cross_fit_candidates;
///
/// // Two sampled answers for each of three routes.
/// let best = cross_fit_candidates(&[0.9, 0.4, 0.5], &[0.3, 0.6, 0.5])?;
/// assert_eq!((best.naive, best.corrected), (0.6, (0.3 + 0.4) / 2.0));
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
///
/// # Errors
///
/// If the lists differ in length or are empty, or a value is not finite.
pub fn cross_fit_candidates(first: &[f64], second: &[f64]) -> Result<CrossFitted, StatisticsError> {
    check_values("the first scores", first)?;
    check_values("the second scores", second)?;
    if first.len() != second.len() {
        let (found, expected) = (second.len(), first.len());
        return Err(StatisticsError::Lengths { what: "the two scores of candidates", found, expected });
    }
    let means: Vec<f64> = first.iter().zip(second).map(|(a, b)| f64::midpoint(*a, *b)).collect();
    let corrected = f64::midpoint(second[best(first)], first[best(second)]);
    Ok(CrossFitted { naive: means[best(&means)], corrected })
}

/// Scores the best of several methods over a set of items: `scores[method][item]` (higher is better).
///
/// The naive score is the mean of the method that is best on all items. The corrected one is the mean over all items,
/// each scored by the method that is best on the *other* folds.
///
/// # Errors
///
/// If there are no methods or folds, methods differ in their number of items, a fold has an empty part or an index out
/// of range, or a value is not finite.
pub fn cross_fit_methods(scores: &[Vec<f64>], folds: &[Fold]) -> Result<CrossFitted, StatisticsError> {
    let Some(items) = scores.first().map(Vec::len) else {
        return Err(StatisticsError::TooFew { what: "methods", found: 0, needed: 1 });
    };
    if folds.is_empty() {
        return Err(StatisticsError::TooFew { what: "folds", found: 0, needed: 1 });
    }
    for method in scores {
        check_values("a method's scores", method)?;
        if method.len() != items {
            let what = "the methods' scores";
            return Err(StatisticsError::Lengths { what, found: method.len(), expected: items });
        }
    }
    for part in folds.iter().flat_map(|fold| [&fold.choose, &fold.score]) {
        let Some(last) = part.iter().max() else {
            return Err(StatisticsError::TooFew { what: "items in a part of a fold", found: 0, needed: 1 });
        };
        if *last >= items {
            return Err(StatisticsError::TooFew { what: "items that a fold names", found: items, needed: last + 1 });
        }
    }
    let sum = |method: &[f64], items: &[usize]| items.iter().map(|&item| method[item]).sum::<f64>();
    let sums = |items: &[usize]| scores.iter().map(|method| sum(method, items)).collect::<Vec<_>>();

    let all = sums(&(0..items).collect::<Vec<_>>());
    let won = folds.iter().map(|fold| sum(&scores[best(&sums(&fold.choose))], &fold.score)).sum::<f64>();
    let n_scored: usize = folds.iter().map(|fold| fold.score.len()).sum();
    Ok(CrossFitted { naive: all[best(&all)] / items.to_f64(), corrected: won / n_scored.to_f64() })
}

/// The index of the greatest value, the first on a tie.
fn best(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::{Fold, cross_fit_candidates, cross_fit_methods, folds, odd_even};
    use rand::{Rng, SeedableRng};

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        move || draw.random::<f64>()
    }

    #[test]
    fn folds_are_a_partition() {
        let made = folds(23, 4, 9).unwrap();
        let mut scored: Vec<usize> = made.iter().flat_map(|fold| fold.score.clone()).collect();
        scored.sort_unstable();
        assert_eq!(scored, (0..23).collect::<Vec<_>>());
        for Fold { choose, score } in &made {
            assert_eq!(choose.len() + score.len(), 23);
            assert!(score.iter().all(|item| !choose.contains(item)));
        }
        assert_eq!(made, folds(23, 4, 9).unwrap());
        assert_ne!(made, folds(23, 4, 10).unwrap());
        assert!(folds(3, 4, 0).is_err() && folds(3, 1, 0).is_err());
    }

    #[test]
    fn odd_and_even_swap() {
        let [first, second] = odd_even(5).unwrap();
        assert_eq!((first.choose, first.score), (vec![1, 3], vec![0, 2, 4]));
        assert_eq!((second.choose, second.score), (vec![0, 2, 4], vec![1, 3]));
        assert!(odd_even(1).is_err());
    }

    /// Ten candidates are pure noise around 0.5: the naive score of the best is far above that, the corrected one is
    /// not.
    #[test]
    fn noise_gains_nothing() {
        let mut draw = noise(1);
        let n = 2000;
        let (mut naive, mut corrected) = (0.0, 0.0);
        for _ in 0..n {
            let scores: [Vec<f64>; 2] = std::array::from_fn(|_| (0..10).map(|_| draw()).collect());
            let best = cross_fit_candidates(&scores[0], &scores[1]).unwrap();
            naive += best.naive / f64::from(n);
            corrected += best.corrected / f64::from(n);
        }
        assert!(naive > 0.75, "{naive}");
        assert!((corrected - 0.5).abs() < 0.02, "{corrected}");
    }

    #[test]
    fn a_method_that_is_better_stays_better() {
        let mut draw = noise(2);
        let mut scores: Vec<Vec<f64>> = (0..20).map(|_| (0..40).map(|_| draw()).collect()).collect();
        let made = folds(40, 4, 3).unwrap();
        let among_equals = cross_fit_methods(&scores, &made).unwrap();
        assert!(among_equals.naive > 0.54 && among_equals.optimism() > 0.02, "{among_equals:?}");
        scores[7].iter_mut().for_each(|score| *score += 2.0);
        let with_winner = cross_fit_methods(&scores, &made).unwrap();
        assert!(with_winner.optimism().abs() < 1e-12, "{with_winner:?}");
    }

    #[test]
    fn invalid_scores_and_folds_are_refused() {
        let made = folds(4, 2, 0).unwrap();
        assert!(cross_fit_methods(&[], &made).is_err());
        assert!(cross_fit_methods(&[vec![1.0; 4]], &[]).is_err());
        assert!(cross_fit_methods(&[vec![1.0; 4], vec![1.0; 3]], &made).is_err());
        assert!(cross_fit_methods(&[vec![1.0; 3]], &made).is_err());
        assert!(cross_fit_methods(&[vec![1.0, 2.0, f64::NAN, 1.0]], &made).is_err());
        assert!(cross_fit_candidates(&[1.0], &[]).is_err());
    }
}
