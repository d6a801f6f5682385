//! The cached keys and values of one row, as the attention reads them.

use burn::tensor::Tensor;
use std::borrow::Cow;

/// The keys and values that one row's queries attend to.
pub(crate) struct CachedRow<'a> {
    /// `[1, kv_heads, slots, head_dim]`; the last slots hold the queries' own tokens. The first slots of the cache are
    /// absent if a window hides them from all queries.
    pub(crate) k: Tensor<4>,
    /// `[1, kv_heads, slots, head_dim]`.
    pub(crate) v: Tensor<4>,
    /// One byte per query and slot, `[tokens, slots]`, nonzero where the query must not attend; `None` = every slot up
    /// to the own is seen.
    pub(crate) hidden: Option<Cow<'a, [u8]>>,
}
