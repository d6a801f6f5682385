//! Grouped-query attention (Ainslie et al. 2023), scale `1/sqrt(head_dim)`. Query head `h` reads key/value head
//! `h / (heads / kv_heads)`.

use super::CachedRow;
use burn::tensor::{Bool, Tensor, TensorData, module, ops::AttentionModuleOptions};

/// The number of slots whose weights the CPU kernel adds side by side: the order of a sum depends on the first slot that is
/// read, but for multiples of this.
pub(crate) const SLOTS_ABREAST: usize = 16;

/// Computes the attention of `tokens` new queries per row to the row's cached keys and values.
///
/// Query `i` of a row sees the slots up to its own, `slots - tokens + i`, except those that are hidden. Rows may differ
/// in their number of slots.
///
/// # Shapes
/// - `q`: `[rows, heads, tokens, head_dim]`, one row per entry of `rows`
/// - result: `[rows, tokens, heads * head_dim]`
pub(crate) fn cached_attention(q: &Tensor<4>, rows: &[CachedRow<'_>]) -> Tensor<3> {
    let tokens = q.dims()[2];
    let row = |(i, CachedRow { k, v, hidden }): (usize, &CachedRow<'_>)| {
        let mask = hidden.as_deref().map(|hidden| {
            let hidden: Vec<bool> = hidden.iter().map(|byte| *byte != 0).collect();
            Tensor::from_data(TensorData::new(hidden, [1, 1, tokens, k.dims()[2]]), &k.device())
        });
        attention(q.clone().narrow(0, i, 1), k.clone(), v.clone(), mask.as_ref())
    };
    let mut mixed: Vec<Tensor<3>> = rows.iter().enumerate().map(row).collect();
    if mixed.len() == 1 { mixed.remove(0) } else { Tensor::cat(mixed, 0) }
}

/// Computes the attention of `tokens` new queries to `slots` keys and values, of which the last `tokens` are the
/// queries' own.
///
/// Query `i` sees the slots up to its own, `slots - tokens + i`, except those that `mask` hides.
///
/// # Shapes
/// - `q`: `[rows, heads, tokens, head_dim]`
/// - `k`, `v`: `[rows, kv_heads, slots, head_dim]`
/// - `mask`: `[rows, 1, tokens, slots]`, `true` where a query must not attend
/// - result: `[rows, tokens, heads * head_dim]`
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<&Tensor<4, Bool>>) -> Tensor<3> {
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
