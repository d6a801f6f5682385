//! The choice of the next token.

use super::filter::{Ranked, at_least, nucleus, penalise_repetition};
use super::{Sampling, SamplingError};
use crate::random;
use rand::Rng;
use std::borrow::Cow;

/// The place of a draw, from which its random number is derived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    /// The sequence's id.
    pub(crate) sequence: u64,
    /// The position of the token to draw.
    pub(crate) position: usize,
}

impl Place {
    /// Draws a number from 0 to 1, 1 excluded, for one purpose; `index` tells draws at one place apart.
    pub(super) fn draw(self, purpose: [u8; 8], index: usize) -> f64 {
        random::at(purpose, self.seed, [self.sequence, self.position as u64, index as u64]).random()
    }
}

/// Chooses the next token of a sequence.
///
/// `seen` holds the tokens of the prompt and of the output so far.
pub(crate) fn pick(logits: &[f32], seen: &[u32], sampling: &Sampling, place: Place) -> Result<u32, SamplingError> {
    let logits = penalised(logits, seen, sampling)?;
    let token = if sampling.temperature > 0.0 { draw(&logits, sampling, place) } else { largest(&logits) };
    // If every token is ruled out, the largest logit is negative infinity too.
    let token = token.filter(|token| logits[*token] > f32::NEG_INFINITY);
    token.and_then(|token| u32::try_from(token).ok()).ok_or(SamplingError::Empty)
}

/// The probabilities with which [`pick`] draws each token of the vocabulary, at a temperature above 0.
pub(crate) fn probabilities(logits: &[f32], seen: &[u32], sampling: &Sampling) -> Result<Vec<f64>, SamplingError> {
    let logits = penalised(logits, seen, sampling)?;
    let mut probabilities = vec![0.0; logits.len()];
    let kept = Kept::new(&logits, sampling).filter(|kept| kept.most > f32::NEG_INFINITY);
    let mut kept = kept.ok_or(SamplingError::Empty)?;
    for index in 0..kept.len {
        // Which of them comes first matters only if some are left out.
        let candidate =
            if kept.len < kept.candidates.len() { kept.candidates.get(index) } else { kept.candidates.any(index) };
        if let Some((token, logit)) = candidate {
            probabilities[token] = kept.weight(logit) / kept.total;
        }
    }
    Ok(probabilities)
}

/// Checks the logits, and applies the repetition penalty.
fn penalised<'a>(logits: &'a [f32], seen: &[u32], sampling: &Sampling) -> Result<Cow<'a, [f32]>, SamplingError> {
    check_finite(logits)?;
    let mut logits = Cow::Borrowed(logits);
    if sampling.penalises() {
        penalise_repetition(logits.to_mut(), seen, sampling.repetition_penalty)?;
    }
    Ok(logits)
}

/// Refuses NaN and positive infinity. Negative infinity is allowed: it gives a token the probability zero.
pub(crate) fn check_finite(logits: &[f32]) -> Result<(), SamplingError> {
    // `<` is false for NaN. There is no branch per value, because this reads the whole vocabulary for every token.
    if logits.iter().filter(|x| **x < f32::INFINITY).count() == logits.len() {
        return Ok(());
    }
    match logits.iter().position(|x| x.is_nan() || *x == f32::INFINITY) {
        Some(token) => Err(SamplingError::NotFinite { token, value: logits[token] }),
        None => Ok(()),
    }
}

/// Returns the index of the largest value, the first among equals. Values must not be NaN.
pub(crate) fn largest(logits: &[f32]) -> Option<usize> {
    const LANES: usize = 16;
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    let most = most.iter().chain(rest).copied().reduce(f32::max)?;
    logits.iter().position(|x| *x >= most)
}

/// The candidates that the filters keep: the first ones in descending order of their logits.
struct Kept {
    candidates: Ranked,
    /// The number of candidates that are kept.
    len: usize,
    /// The largest logit.
    most: f32,
    temperature: f32,
    /// The weight of all that are kept.
    total: f64,
}

impl Kept {
    fn new(logits: &[f32], sampling: &Sampling) -> Option<Self> {
        let mut candidates = Ranked::new(logits, sampling.top_k);
        let (_, most) = candidates.get(0)?;
        let (temperature, len) = (sampling.temperature, candidates.len());
        let mut kept = Self { candidates, len, most, temperature, total: 0.0 };
        kept.total = kept.candidates.all().map(|logit| kept.weight(logit)).sum();
        let weight = |logit| weight(logit, most, temperature);
        if let Some(p) = sampling.top_p {
            (kept.len, kept.total) = nucleus(&mut kept.candidates, weight, f64::from(p) * kept.total);
        }
        if let Some(p) = sampling.min_p {
            (kept.len, kept.total) = at_least(&mut kept.candidates, weight, kept.len, f64::from(p));
        }
        Some(kept)
    }

    fn weight(&self, logit: f32) -> f64 {
        weight(logit, self.most, self.temperature)
    }
}

/// A probability, up to a common factor.
fn weight(logit: f32, most: f32, temperature: f32) -> f64 {
    f64::from(((logit - most) / temperature).exp())
}

/// Draws a token. The candidates are walked in descending order of their logits, of which the first few usually have
/// almost all of the probability, so that few of them need to be sorted.
fn draw(logits: &[f32], sampling: &Sampling, place: Place) -> Option<usize> {
    let mut kept = Kept::new(logits, sampling)?;
    let mut left = place.draw(random::SAMPLING, 0) * kept.total;
    let mut last = None;
    for rank in 0..kept.len {
        let (token, logit) = kept.candidates.get(rank)?;
        let weight = kept.weight(logit);
        left -= weight;
        if left < 0.0 {
            return Some(token);
        }
        // A token without probability is never drawn, whatever rounding leaves.
        last = if weight > 0.0 { Some(token) } else { last };
    }
    last // reached only if rounding leaves a remainder
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers in tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampling() -> Sampling {
        Sampling { temperature: 1.0, ..Sampling::default() }
    }

    fn counts(logits: &[f32], sampling: &Sampling, n: usize) -> Vec<usize> {
        let mut counts = vec![0; logits.len()];
        for position in 0..n {
            counts[pick(logits, &[], sampling, Place { position, ..Place::default() }).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let token = pick(&[1.0, 3.0, 3.0, -1.0], &[], &Sampling::default(), Place::default());
        assert_eq!(token, Ok(1));
    }

    proptest! {
        #[test]
        fn greedy_takes_the_first_of_the_largest(logits in proptest::collection::vec(-3..3_i8, 0..70)) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let mut first = None;
            for (token, x) in logits.iter().enumerate() {
                if first.is_none_or(|best: usize| *x > logits[best]) {
                    first = Some(token);
                }
            }
            prop_assert_eq!(largest(&logits), first);
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let n = 20_000;
        for (count, p) in counts(&logits, &sampling(), n).into_iter().zip([0.5, 0.3, 0.15, 0.05]) {
            // Five standard deviations of a binomial count.
            let expected = n as f64 * p;
            assert!((count as f64 - expected).abs() < 5.0 * (expected * (1.0 - p)).sqrt(), "{count} for {expected}");
        }
    }

    #[test]
    fn filters_remove_what_they_should() {
        let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let kept = |s: Sampling| counts(&logits, &s, 2000).iter().map(|c| *c > 0).collect::<Vec<_>>();
        assert_eq!(kept(Sampling { top_k: Some(2), ..sampling() }), [true, true, false, false]);
        assert_eq!(kept(Sampling { top_p: Some(0.75), ..sampling() }), [true, true, false, false]);
        assert_eq!(kept(Sampling { top_p: Some(0.85), ..sampling() }), [true, true, true, false]);
        assert_eq!(kept(Sampling { min_p: Some(0.2), ..sampling() }), [true, true, true, false]);
        assert_eq!(kept(Sampling { temperature: 0.01, ..sampling() }), [true, false, false, false]);
    }

    #[test]
    fn repetition_penalty_moves_both_signs_down_once() {
        let mut logits = vec![2.0, -2.0, 1.0];
        penalise_repetition(&mut logits, &[0, 1, 1, 0, 99], 2.0).unwrap();
        assert_eq!(logits, [1.0, -4.0, 1.0]);
    }

    #[test]
    fn a_penalty_that_overflows_is_named() {
        let logits = [0.5, -2.0, 3.0, f32::NEG_INFINITY, 0.0];
        let choose = |seen: &[u32], repetition_penalty, temperature| {
            pick(&logits, seen, &Sampling { temperature, repetition_penalty, ..sampling() }, Place::default())
        };
        for temperature in [0.0, 1.0] {
            let error = choose(&[0, 2], 1e-39, temperature).unwrap_err();
            assert!(matches!(error, SamplingError::Penalty { token: 0, .. }), "{error}");
            assert!(error.to_string().starts_with("the repetition penalty 1e-39 makes the logit of token 0, 0.5, inf"));
            // Multiplied, a negative logit overflows at the other end.
            let error = choose(&[1], 3e38, temperature).unwrap_err();
            assert!(matches!(error, SamplingError::Penalty { token: 1, .. }), "{error}");
            // A token that a hook has ruled out stays so, and a logit of 0 stays 0.
            assert!(choose(&[3, 4], 1e-39, temperature).is_ok());
            assert!(choose(&[3, 4], 3e38, temperature).is_ok());
        }
        assert_eq!(choose(&[3, 4], 3e38, 0.0), Ok(2));
    }

    #[test]
    fn a_token_that_is_ruled_out_is_never_chosen() {
        let (never, tiny) = (f32::NEG_INFINITY, f32::from_bits(1));
        for temperature in [0.0, tiny, 1.0, f32::MAX] {
            let choose = |logits: &[f32]| pick(logits, &[], &Sampling { temperature, ..sampling() }, Place::default());
            assert_eq!(choose(&[never, -3e38, never]), Ok(1));
            assert_eq!(choose(&[never, never]), Err(SamplingError::Empty));
        }
        // At the smallest temperature the quotients overflow, but not that of the likeliest token.
        let cold = Sampling { temperature: tiny, ..sampling() };
        assert_eq!(pick(&[-3e38, 1.0, 3e38], &[], &cold, Place::default()), Ok(2));
    }

    #[test]
    fn filters_have_no_effect_on_a_greedy_choice() {
        let filtered = Sampling { temperature: 0.0, top_k: Some(3), min_p: Some(0.1), ..sampling() };
        assert_eq!(filtered.without_effect(), ["top_k", "min_p"]);
        assert!(Sampling { temperature: 0.1, ..filtered }.without_effect().is_empty());
        assert!(Sampling { repetition_penalty: 1.2, ..Sampling::default() }.without_effect().is_empty());
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let error = pick(&[0.0, f32::NAN], &[], &Sampling::default(), Place::default()).unwrap_err();
        assert!(matches!(error, SamplingError::NotFinite { token: 1, value } if value.is_nan()));
        assert_eq!(pick(&[], &[], &sampling(), Place::default()), Err(SamplingError::Empty));
        for bad in [
            Sampling { temperature: f32::NAN, ..sampling() },
            Sampling { top_k: Some(0), ..sampling() },
            Sampling { top_p: Some(0.0), ..sampling() },
            Sampling { min_p: Some(1.5), ..sampling() },
            Sampling { repetition_penalty: 0.0, ..sampling() },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_probabilities_are_those_of_the_draws() {
        let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let n = 20_000;
        let samplings = [
            sampling(),
            Sampling { temperature: 0.7, ..sampling() },
            Sampling { top_k: Some(3), repetition_penalty: 1.5, ..sampling() },
            Sampling { top_p: Some(0.75), ..sampling() },
            Sampling { min_p: Some(0.2), temperature: 1.3, ..sampling() },
        ];
        for sampling in samplings {
            let drawn = counts(&logits, &sampling, n);
            let found = probabilities(&logits, &[], &sampling).unwrap();
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (count, p) in drawn.into_iter().zip(found) {
                let expected = n as f64 * p;
                // Five standard deviations of a binomial count.
                let tolerance = 5.0 * (expected * (1.0 - p)).sqrt();
                assert!((count as f64 - expected).abs() <= tolerance, "{sampling:?}: {count} for {expected}");
            }
        }
        assert_eq!(probabilities(&[f32::NEG_INFINITY; 2], &[], &self::sampling()), Err(SamplingError::Empty));
    }

    proptest! {
        #[test]
        fn a_draw_is_a_candidate_and_repeats(
            logits in prop::collection::vec(-20f32..20.0, 1..50), seed: u64, sequence: u64, position in 0usize..10_000,
            k in 1usize..60, p in 0.01f32..1.0,
        ) {
            let s = Sampling { top_k: Some(k), top_p: Some(p), ..sampling() };
            let place = Place { seed, sequence, position };
            let token = pick(&logits, &[], &s, place).unwrap();
            prop_assert_eq!(pick(&logits, &[], &s, place).unwrap(), token);
            let larger = logits.iter().filter(|x| **x > logits[token as usize]).count();
            prop_assert!(larger < k);
        }
    }
}
