//! Model configuration: what a Llama-style decoder looks like, and where that is read from.
//!
//! Two structs, as the two jobs differ: a private one mirrors the `config.json` of Hugging Face transformers, key by key,
//! and [`LlamaConfig`] is what the code uses, with every default filled in and every value checked. A configuration that
//! came from anywhere else (GGUF metadata, a builder, a file of one's own) is filled in by field and then checked by
//! [`LlamaConfig::validate`].
//!
//! Supported families: Llama 1 to 3.x (`SmolLM` and `SmolLM2` are Llamas), Mistral without a sliding window, Qwen2 and Qwen3.
//! Anything else is refused by field, found value and supported values, because a model that runs with the wrong
//! arithmetic gives plausible nonsense instead of an error.

mod convert;
mod error;
mod family;
mod file;
mod hf;
mod llama;
mod rope;
mod validate;

pub use error::ConfigError;
pub use llama::{AttentionBias, LlamaConfig};
pub use rope::{RopeConfig, RopeScaling};
pub use validate::limits;

#[cfg(test)]
mod tests;
