//! The decoder in pieces, from which a layer loop is built.
//!
//! [`Llama`] embeds tokens, holds the blocks and turns states into logits; a [`Block`] runs its attention and its MLP
//! separately; a [`Frame`] holds the positions and masks that all layers of one pass share; a [`KvCache`] keeps keys
//! and values between passes. The forward pass is one file, `llama.rs`.

mod cache;
mod frame;
mod llama;
mod rope;

pub use cache::{KvCache, LayerKv};
pub use frame::Frame;
pub use llama::{Attention, Block, Linear, Llama, Mlp, RmsNorm};
pub use rope::Rope;
