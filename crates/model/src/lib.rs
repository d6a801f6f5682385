//! Llama-style language models on [burn]: checkpoints, tokenizers, and a forward pass whose layers you call one by one.
//!
//! A usual forward pass runs all layers in order. Here it is split into its parts (embedding, layers, output head,
//! cache, positions), so that a program can decide which layers run, and read or change the hidden states between them.
//! The crate runs Llama, Mistral, Qwen2, Qwen3 and `SmolLM3` models from Hugging Face folders and GGUF files; see
//! [`config`] for the exact list.
//!
//! This crate is a part of dynlayer. The crate `dynlayer-inference` builds on it: there, controllers choose the layers
//! while text is generated. Most programs depend on `dynlayer`, which re-exports this crate as `dynlayer::model`.
//!
//! [burn]: https://burn.dev
//!
//! # Generate text from a checkpoint
//!
//! [`Checkpoint::open`] reads the headers and the configuration, and checks that the tensors fit it.
//! [`Checkpoint::load`] then reads the weights onto a device. [`Llama::forward`] runs every layer on the new tokens and
//! stores their keys and values in a [`KvCache`], so that each later pass needs only the newest token:
//!
//! ```no_run
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::Device;
//! use dynlayer_model::text::StreamDecoder;
//! use dynlayer_model::{Checkpoint, WeightDtype};
//!
//! let checkpoint = Checkpoint::open("SmolLM2-135M")?; // a folder, or a file such as "model.gguf"
//! let tokenizer = checkpoint.tokenizer()?;
//! let stop_tokens = checkpoint.stop_tokens(&tokenizer)?;
//! let model = checkpoint.load(WeightDtype::F16, &Device::flex(), |_progress| {})?;
//!
//! let mut cache = model.cache(1, 256); // one sequence of up to 256 tokens
//! let mut text = StreamDecoder::new(&tokenizer, true);
//! let mut input = tokenizer.encode("Once upon a time", true)?;
//! while cache.len(0) + input.len() <= cache.capacity(0) {
//!     let positions: Vec<usize> = (cache.len(0)..cache.len(0) + input.len()).collect();
//!     let frame = model.frame(&cache, &[0], &[positions]); // row 0 of the cache
//!     let hidden = model.forward(model.tokens(&[&input]), &frame, &mut cache); // [1, tokens, d_model]
//!     let logits = model.logits(hidden.narrow(1, input.len() - 1, 1)); // [1, 1, vocab_size]
//!     input = logits.argmax(2).into_data().try_into_vec_as::<u32>()?; // the most likely next token
//!     if stop_tokens.contains(&input[0]) {
//!         break;
//!     }
//!     if let Some(piece) = text.push(input[0])? {
//!         print!("{piece}");
//!     }
//! }
//! if let Some(piece) = text.finish()? {
//!     print!("{piece}");
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Models that were trained for chat expect a conversation in the form of their template. [`Tokenizer::chat_template`]
//! returns it, if the checkpoint has one:
//!
//! ```no_run
//! use dynlayer_model::Checkpoint;
//! use dynlayer_model::text::ChatMessage;
//!
//! let tokenizer = Checkpoint::open("SmolLM2-135M-Instruct")?.tokenizer()?;
//! if let Some(template) = tokenizer.chat_template()? {
//!     let prompt = template.render(&[ChatMessage::user("What is the capital of France?")], true)?;
//!     let ids = tokenizer.encode(&prompt, false)?; // the template has put the special tokens into the text already
//!     println!("{} tokens", ids.len());
//! }
//! # Ok::<(), dynlayer_model::LoadError>(())
//! ```
//!
//! [`Tokenizer::chat_template`]: text::Tokenizer::chat_template
//!
//! # Write a layer loop
//!
//! The pieces of [`Llama::forward`] are public: [`Llama::embed`], [`Block::forward`] and [`Llama::logits`]. Between two
//! layers the state is a tensor `[rows, tokens, d_model]`, where a *row* is one sequence of the batch. A [`Frame`]
//! holds the positions and masks that all layers of the pass share. This example skips one layer. Its model is small
//! and has random weights, so that it needs no files:
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::Device;
//! use dynlayer_model::WeightDtype;
//! use dynlayer_model::config::LlamaConfig;
//!
//! let config = LlamaConfig::from_hf_json(
//!     r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
//!         "num_hidden_layers": 4, "num_attention_heads": 4}"#,
//!     "an example",
//! )?;
//! let model = config.init(7, WeightDtype::F32, &Device::flex())?; // random weights from the seed 7
//!
//! let prompt: [u32; 3] = [1, 2, 3]; // token ids
//! let mut cache = model.cache(1, 16);
//! let frame = model.frame(&cache, &[0], &[vec![0, 1, 2]]);
//! let mut hidden = model.embed(model.tokens(&[&prompt]));
//! for (i, block) in model.layers().iter().enumerate() {
//!     let kv = cache.layer_mut(i);
//!     if i == 2 {
//!         // Skips the layer, but writes its keys and values, so that later tokens that run it can attend to these.
//!         block.propagate(hidden.clone(), &frame, kv);
//!     } else {
//!         hidden = block.forward(hidden, &frame, kv);
//!     }
//! }
//! cache.advance(&frame);
//! assert_eq!(model.logits(hidden).dims(), [1, 3, 64]); // [rows, tokens, vocab_size]
//! # }
//! # Ok::<(), dynlayer_model::config::ConfigError>(())
//! ```
//!
//! [`Block::attention`] and [`Block::feed_forward`] run the two halves of a layer separately.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | the root | [`Checkpoint`], [`Backend`], [`WeightDtype`], [`Matrix`], [`Digest`], errors, types of [`decoder`] |
//! | [`config`] | [`LlamaConfig`]: the sizes and switches of a model, read from `config.json` and validated |
//! | [`decoder`] | [`Llama`], its [`Block`]s, their [`KvCache`], and the [`Frame`] of a pass |
//! | [`format`](mod@format) | readers for safetensors and GGUF files, independent of burn |
//! | [`text`] | [`Tokenizer`], [`StreamDecoder`] and [`ChatTemplate`] |
//!
//! [`LlamaConfig`]: config::LlamaConfig
//! [`Tokenizer`]: text::Tokenizer
//! [`StreamDecoder`]: text::StreamDecoder
//! [`ChatTemplate`]: text::ChatTemplate
//!
//! Files are not trusted: invalid ones give an error that names the file and the field, and a model that this crate
//! cannot run exactly is refused.
//!
//! # Cargo features
//!
//! Each feature compiles a burn backend in, but for `fusion` and `hub`.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `flex` | yes | CPU, with kernels for decoding |
//! | `ndarray` | | CPU, through burn-ndarray (deprecated upstream and slow; kept for comparison) |
//! | `cuda` | | NVIDIA GPUs |
//! | `wgpu` | | GPUs, through WebGPU |
//! | `fusion` | | GPUs in programs that have burn's feature of this name on, for their own tensors; a pass takes longer |
//! | `hub` | | [`Checkpoint`]`::from_hub`: downloads from the Hugging Face hub |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(test)]
extern crate self as dynlayer_model;

pub mod config;
pub mod decoder;
mod device;
mod digest;
mod files;
pub mod format;
mod load;
mod matrix;
mod ops;
mod parameters;
mod random;
pub mod text;
mod weights;

pub use decoder::{Adapter, AdapterError, AdapterOptions, Block, Frame, KvCache, LayerKv, Llama, RmsNorm};
pub use device::{Backend, DeviceError, DeviceSpec, DtypeError, KvDtype, WeightDtype, adapter_name, is_gpu};
pub use digest::{DeviceReadError, Digest, DigestError};
#[cfg(feature = "flex")]
pub use dynlayer_cpu::{set_threads, threads};
#[doc(hidden)]
pub use load::standard_normal;
pub use load::{Checkpoint, LoadError, NamedShape, Progress, SaveError, TensorMismatch, Warning};
#[cfg(feature = "hub")]
pub use load::{HubError, HubErrorKind, HubOptions, HubProgress};
pub use matrix::{Blocks, Matrix};
pub use ops::{largest_in_rows, select_rows};
#[doc(hidden)]
pub use parameters::quantised_weight;
pub use weights::Weights;

/// Keeps the threads of the CPU kernels awake until the result is dropped: they wait for work without sleeping, and keep
/// their cores busy. Hold it while a pass runs, and only then. Other backends than `flex` need none.
#[must_use = "the threads sleep again as soon as the guard is dropped"]
pub fn awake() -> impl Sized {
    #[cfg(feature = "flex")]
    dynlayer_cpu::awake()
}

#[cfg(test)]
#[path = "../tests/support/gguf_writer.rs"]
mod gguf_writer;
#[cfg(test)]
#[path = "../tests/support/small_gguf.rs"]
mod small_gguf;
