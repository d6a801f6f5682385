//! Filters of the candidates for the next token.

/// Divides the positive and multiplies the negative logits of the tokens in `seen` by `penalty` (Keskar et al. 2019).
pub(super) fn penalise_repetition(logits: &mut [f32], seen: &[u32], penalty: f32) {
    let mut done = std::collections::HashSet::new();
    for token in seen {
        let Some(logit) = usize::try_from(*token).ok().and_then(|i| logits.get_mut(i)) else { continue };
        if done.insert(*token) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// Returns the tokens with the `top_k` largest logits, including ties with the last of them, in descending order of
/// logits, and equal ones in the order of their ids.
pub(super) fn ranked(logits: &[f32], top_k: Option<usize>) -> Vec<(usize, f32)> {
    let mut candidates: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if let Some(k) = top_k.filter(|k| *k < candidates.len()) {
        let (_, &mut (_, kth), _) = candidates.select_nth_unstable_by(k - 1, order);
        candidates.retain(|(_, logit)| *logit >= kth);
    }
    candidates.sort_unstable_by(order);
    candidates
}

/// Keeps the most probable candidates until their total probability reaches `p`. `ranked` is in descending order; its
/// numbers need not sum to 1.
pub(super) fn keep_nucleus(ranked: &mut Vec<(usize, f32)>, p: f32) {
    let total: f64 = ranked.iter().map(|(_, q)| f64::from(*q)).sum();
    let mut sum = 0.0;
    let enough = ranked.iter().position(|(_, q)| {
        sum += f64::from(*q);
        sum >= f64::from(p) * total
    });
    ranked.truncate(enough.map_or(ranked.len(), |last| last + 1));
}

/// Keeps candidates at least `p` times as probable as the first. `ranked` is in descending order.
pub(super) fn keep_at_least(ranked: &mut Vec<(usize, f32)>, p: f32) {
    let Some((_, most)) = ranked.first().copied() else { return };
    ranked.retain(|(_, q)| *q >= p * most);
}
