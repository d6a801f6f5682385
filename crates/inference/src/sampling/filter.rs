//! Filters of the candidates for the next token.

use super::SamplingError;
use std::cmp::Ordering;

/// Divides the positive and multiplies the negative logits of the tokens in `seen` by `penalty` (Keskar et al. 2019).
/// A finite logit must stay finite.
pub(super) fn penalise_repetition(logits: &mut [f32], seen: &[u32], penalty: f32) -> Result<(), SamplingError> {
    let mut done = std::collections::HashSet::new();
    for token in seen {
        let Some(found) = usize::try_from(*token).ok().and_then(|i| logits.get_mut(i)) else { continue };
        if done.insert(*token) {
            let logit = *found;
            *found = if logit > 0.0 { logit / penalty } else { logit * penalty };
            if logit.is_finite() && !found.is_finite() {
                return Err(SamplingError::Penalty { token: *token, logit, penalty });
            }
        }
    }
    Ok(())
}

/// The tokens with the `top_k` largest logits, including ties with the last of them, in descending order of logits, and
/// equal ones in the order of their ids. They are sorted as far as they are looked at.
pub(super) struct Ranked {
    candidates: Vec<(usize, f32)>,
    /// The number of candidates that are in order.
    sorted: usize,
}

impl Ranked {
    /// The number of candidates that are sorted at first.
    const FIRST: usize = 64;

    pub(super) fn new(logits: &[f32], top_k: Option<usize>) -> Self {
        let mut candidates: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
        if let Some(k) = top_k.filter(|k| *k < candidates.len()) {
            let (_, &mut (_, kth), _) = candidates.select_nth_unstable_by(k - 1, descending);
            candidates.retain(|(_, logit)| *logit >= kth);
        }
        Self { candidates, sorted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// The logits of all candidates, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = f32> + '_ {
        self.candidates.iter().map(|(_, logit)| *logit)
    }

    /// The token and the logit of a candidate, in no order.
    pub(super) fn any(&self, index: usize) -> Option<(usize, f32)> {
        self.candidates.get(index).copied()
    }

    /// The token and the logit of a rank, from 0.
    pub(super) fn get(&mut self, rank: usize) -> Option<(usize, f32)> {
        if rank >= self.sorted && rank < self.len() {
            let end = (4 * rank).max(Self::FIRST).min(self.len());
            let rest = &mut self.candidates[self.sorted..];
            let next = end - self.sorted;
            if next < rest.len() {
                rest.select_nth_unstable_by(next - 1, descending);
            }
            rest[..next].sort_unstable_by(descending);
            self.sorted = end;
        }
        self.candidates.get(rank).copied()
    }
}

fn descending(a: &(usize, f32), b: &(usize, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Returns the number of the most probable candidates that reach the weight `enough` together, and their weight.
pub(super) fn nucleus(candidates: &mut Ranked, weight: impl Fn(f32) -> f64, enough: f64) -> (usize, f64) {
    let mut sum = 0.0;
    for rank in 0..candidates.len() {
        sum += candidates.get(rank).map_or(0.0, |(_, logit)| weight(logit));
        if sum >= enough {
            return (rank + 1, sum);
        }
    }
    (candidates.len(), sum)
}

/// Returns the number of candidates, of the first `kept`, that are at least `p` times as probable as the first, and
/// their weight. The first has the weight 1.
pub(super) fn at_least(candidates: &mut Ranked, weight: impl Fn(f32) -> f64, kept: usize, p: f64) -> (usize, f64) {
    let mut sum = 0.0;
    for rank in 0..kept {
        let next = candidates.get(rank).map_or(0.0, |(_, logit)| weight(logit));
        if next < p {
            return (rank, sum);
        }
        sum += next;
    }
    (kept, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_are_those_of_a_whole_sort(logits in prop::collection::vec(-20i8..20, 0..600), k in prop::option::of(1usize..600)) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let mut all: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
            all.sort_by(descending);
            if let Some(kth) = k.and_then(|k| all.get(k - 1)).copied() {
                all.retain(|(_, logit)| *logit >= kth.1);
            }
            let mut ranked = Ranked::new(&logits, k);
            prop_assert_eq!(ranked.len(), all.len());
            let found: Vec<(usize, f32)> = (0..=all.len()).map_while(|rank| ranked.get(rank)).collect();
            prop_assert_eq!(found, all);
        }
    }
}
