//! n-grams that two texts share.

use std::collections::HashMap;

/// How many n-grams two texts have in common, each counted as often as in the text that has fewer of it.
pub(super) fn overlap(reference: &[u32], candidate: &[u32], n: usize) -> usize {
    let mut counts: HashMap<&[u32], usize> = HashMap::with_capacity(reference.len());
    for gram in reference.windows(n) {
        *counts.entry(gram).or_default() += 1;
    }
    let mut shared = 0;
    for gram in candidate.windows(n) {
        if let Some(left) = counts.get_mut(gram).filter(|left| **left > 0) {
            *left -= 1;
            shared += 1;
        }
    }
    shared
}

/// How many n-grams a text of `tokens` tokens has.
pub(super) fn count(tokens: usize, n: usize) -> usize {
    (tokens + 1).saturating_sub(n)
}
