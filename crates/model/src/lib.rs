//! Llama-style decoders in burn, in pieces that a layer loop can be built from.
//!
//! Part of dynlayer. This crate loads a model ([`Checkpoint`]) and its tokenizer ([`text`]), and offers the forward pass as
//! embedding, blocks and head ([`decoder`]). It knows nothing of controllers.
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
//!     hidden = block.forward(hidden, &frame, cache.layer_mut(i)); // leave it out, and the layer is skipped
//! }
//! cache.advance(prompt.len());
//! let logits = model.logits(hidden); // [1, tokens, vocab_size]
//! # }
//! # Ok::<(), dynlayer_model::LoadError>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
extern crate self as dynlayer_model;

pub mod config;
pub mod decoder;
mod device;
mod files;
pub mod format;
mod load;
mod ops;
pub mod text;

pub use decoder::{Block, Frame, KvCache, LayerKv, Llama};
pub use device::{Backend, DeviceError, DtypeError, WeightDtype, is_gpu};
#[doc(hidden)]
pub use load::standard_normal;
pub use load::{Checkpoint, LoadError, NamedShape, Progress, SaveError, TensorMismatch};
pub use ops::select_rows;

#[cfg(test)]
#[path = "../tests/support/gguf_writer.rs"]
mod gguf_writer;
#[cfg(test)]
#[path = "../tests/support/small_gguf.rs"]
mod small_gguf;
