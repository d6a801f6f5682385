//! Hidden states: how near those of a shortened pass are to the full one's, and how much each layer changes them.
//!
//! States are `[layers, tokens, d_model]`. Everything is computed on the device, in `f32`; a call reads a few numbers per
//! layer and token. Padding is not known here: pass real tokens only.

mod block_influence;
mod similarity;

pub use block_influence::BlockInfluence;
pub use similarity::{cosine_similarity, relative_error, similarity_matrix};
