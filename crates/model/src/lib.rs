//! Llama-style decoders in burn, in pieces that a layer loop can be built from.
//!
//! Part of dynlayer. This crate knows nothing of controllers: it loads a model
//! ([`Checkpoint`]), its tokenizer ([`text`]), and offers the forward pass as embedding, blocks and head ([`decoder`]).
//!
//! ```no_run
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::Device;
//! use dynlayer_model::{Checkpoint, LoadError, WeightDtype};
//!
//! let checkpoint = Checkpoint::open("model.gguf")?;
//! let tokenizer = checkpoint.tokenizer()?;
//! let model = checkpoint.load(WeightDtype::F32, &Device::flex(), |_| {})?;
//!
//! let prompt = tokenizer.encode("Once upon a time", false)?;
//! let positions = vec![(0..prompt.len()).collect()];
//! let mut cache = model.cache(1, 64);
//! let frame = model.frame(&cache, &positions, &[0]);
//! let mut hidden = model.embed(model.tokens(&[&prompt]));
//! for (i, block) in model.layers().iter().enumerate() {
//!     hidden = block.forward(hidden, &frame, cache.layer_mut(i)); // skip it, and the layer is skipped
//! }
//! cache.advance(prompt.len());
//! let logits = model.logits(hidden); // [1, tokens, vocab_size]
//! # }
//! # Ok::<(), dynlayer_model::LoadError>(())
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod decoder;
mod device;
mod files;
pub mod format;
mod load;
mod ops;
pub mod text;

pub use decoder::{Block, Frame, KvCache, LayerKv, Llama};
pub use device::{Backend, DeviceError, is_gpu};
pub use load::{Checkpoint, DtypeError, LoadError, NamedShape, Progress, SaveError, TensorMismatch, WeightDtype};
