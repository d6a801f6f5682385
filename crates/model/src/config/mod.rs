//! Model configuration: the sizes and switches of a Llama-style decoder, and reading them from `config.json`.
//!
//! There are two structs for two jobs: a private one mirrors the `config.json` of Hugging Face transformers, key by
//! key, and [`LlamaConfig`] is what the code uses, with every default filled in and every value checked. A
//! configuration that comes from anywhere else (GGUF metadata, for one) is filled in field by field and then checked by
//! [`LlamaConfig::validate`].
//!
//! Supported families: Llama 1 to 3.x (`SmolLM` and `SmolLM2` are Llamas), Mistral without a sliding window, Qwen2 and
//! Qwen3. Anything else is refused by field, found value and supported values, because a model that runs with the wrong
//! arithmetic gives plausible nonsense instead of an error.

mod convert;
mod error;
mod family;
mod file;
mod hf;
mod llama;
mod validate;

pub use error::{ConfigError, ConfigErrorKind};
pub(crate) use file::generation_eos_tokens;
pub use llama::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling};
pub use validate::limits;

#[cfg(test)]
mod tests;
