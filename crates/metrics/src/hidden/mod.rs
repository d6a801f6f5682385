//! Hidden states: similarity of a shortened pass to the full one, and the influence of each layer.
//!
//! States are `[layers, tokens, d_model]`. Everything is computed on the device, in `f32`; a call reads a few numbers
//! per layer and token. Padding is not recognised: pass real tokens only.

mod block_influence;
mod similarity;

pub use block_influence::BlockInfluence;
pub use similarity::{cosine_similarity, relative_error, similarity_matrix};
