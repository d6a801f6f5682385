//! The decoder, in parts that a layer loop calls one by one.
//!
//! - [`Llama`] embeds tokens, holds the blocks, and turns hidden states into logits.
//! - [`Block`] is one layer. It runs its attention and its MLP together or separately.
//! - [`Frame`] holds the positions and masks that all layers of one pass share.
//! - [`KvCache`] keeps keys and values between passes.
//! - [`Adapter`] stands beside the weights and changes what they compute (`LoRA`).
//!
//! The forward pass is in `llama.rs`, and its sublayers in `sublayers.rs`. On `flex`, `in_place.rs` computes the same
//! without tensors in between; on GPUs, `on_gpu.rs` computes it in fewer launches.

mod adapter;
mod cache;
mod frame;
#[cfg(feature = "flex")]
mod in_place;
mod layer_kv;
mod llama;
mod low_rank;
#[cfg(feature = "gpu")]
mod on_gpu;
mod rope;
mod sublayers;

pub use adapter::{Adapter, AdapterError, AdapterOptions};
pub use cache::KvCache;
pub use frame::Frame;
pub use layer_kv::LayerKv;
pub use llama::{Block, Llama};
pub use low_rank::LowRank;
pub use rope::{Rope, Rotation};
pub use sublayers::{Attention, Linear, Mlp, RmsNorm};
