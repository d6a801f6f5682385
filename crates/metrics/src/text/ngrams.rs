//! Shared n-grams of two texts.

use std::collections::HashMap;

/// Number of n-grams that two texts share. Each n-gram counts as often as it occurs in both texts, which is the smaller
/// of its two counts.
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

/// Number of n-grams in a text of `tokens` tokens.
pub(super) fn count(tokens: usize, n: usize) -> usize {
    (tokens + 1).saturating_sub(n)
}
