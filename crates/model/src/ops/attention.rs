//! Grouped-query attention over a cache (Ainslie et al. 2023), scale `1/sqrt(head_dim)`.

use super::select_rows;
use burn::tensor::{Bool, Tensor, module, ops::AttentionModuleOptions};

/// Computes the attention of `tokens` new queries to `slots` cached keys and values. The last `tokens` slots hold the
/// keys and values of the queries' own tokens.
///
/// Query head `h` reads key/value head `h / (heads / kv_heads)`. Query `i` sees the slots up to its own,
/// `slots - tokens + i`, except those that `mask` hides. Row `r` of the queries belongs to row `of[r]` of the keys and
/// values, or to row `r` if `of` is `None`.
///
/// # Shapes
/// - `q`: `[rows, heads, tokens, head_dim]`
/// - `k`, `v`: `[cached_rows, kv_heads, slots, head_dim]`
/// - `mask`: `[rows, 1, tokens, slots]`, `true` where a query must not attend
/// - result: `[rows, tokens, heads * head_dim]`
pub(crate) fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    of: Option<&[usize]>,
    mask: Option<&Tensor<4, Bool>>,
) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(mixed) = super::flex::attention(&q, &k, &v, of, mask) {
        return mixed;
    }
    definition(q, k, v, of, mask)
}

pub(super) fn definition(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    of: Option<&[usize]>,
    mask: Option<&Tensor<4, Bool>>,
) -> Tensor<3> {
    let (k, v) = match of {
        Some(of) => (select_rows(k, of), select_rows(v, of)),
        None => (k, v),
    };
    let [rows, heads, tokens, head_dim] = q.dims();
    let [_, kv_heads, slots, _] = k.dims();
    let group = heads / kv_heads;
    let mixed = if tokens == 1 {
        // The query heads of a group lie along the query axis, so that no key or value is repeated.
        let q = q.reshape([rows, kv_heads, group, head_dim]);
        let mask = mask.map(|m| m.clone().expand([rows, kv_heads, group, slots]));
        module::attention(q, k, v, mask, None, AttentionModuleOptions::default()).reshape([rows, heads, 1, head_dim])
    } else {
        let repeat = |kv: Tensor<4>| {
            kv.unsqueeze_dim::<5>(2)
                .expand([rows, kv_heads, group, slots, head_dim])
                .reshape([rows, heads, slots, head_dim])
        };
        let mask = mask.map(|m| m.clone().expand([rows, heads, tokens, slots]));
        let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
        module::attention(q, repeat(k), repeat(v), mask, None, options)
    }; // [rows, heads, tokens, head_dim]
    mixed.swap_dims(1, 2).reshape([rows, tokens, heads * head_dim])
}
