//! The decoder in pieces, from which a layer loop is built.
//!
//! [`Llama`] embeds tokens, holds the blocks and turns states into logits; a [`Block`] runs its attention and its MLP
//! separately; a [`Frame`] is what all layers of one pass share; a [`KvCache`] keeps keys and values between passes.
//! The names of the fields are those of the checkpoint's tensors.

mod attention;
mod block;
mod cache;
mod frame;
mod linear;
mod llama;
mod mlp;
mod norm;
mod rope;

pub use attention::Attention;
pub use block::Block;
pub use cache::{KvCache, LayerKv};
pub use frame::Frame;
pub use linear::Linear;
pub use llama::Llama;
pub use mlp::Mlp;
pub use norm::RmsNorm;
pub use rope::Rope;
