//! Model configuration: the sizes and switches of a Llama-style decoder, and reading them from `config.json`.
//!
//! [`LlamaConfig`] is the configuration that the rest of the crate uses. [`LlamaConfig::from_hf_file`] reads it from
//! the `config.json` of Hugging Face transformers, fills in every default and checks every value. A configuration from
//! another source, such as GGUF metadata, is filled in field by field and then checked by [`LlamaConfig::validate`].
//!
//! The supported families are Llama 1 to 3.x (`SmolLM` and `SmolLM2` are Llamas), Mistral, Qwen2, Qwen3 and `SmolLM3`,
//! with sliding windows where a model has them. Others are refused with an error that names the field, the value found
//! and the supported values: a model that runs with the wrong arithmetic would give plausible nonsense instead of an
//! error.

mod convert;
mod error;
mod family;
mod file;
mod hf;
mod llama;
mod validate;

pub use error::{ConfigError, ConfigErrorKind};
pub(crate) use family::describe_unsupported;
pub(crate) use file::generation_eos_tokens;
pub use llama::{AttentionBias, LlamaConfig, RopeConfig, RopeScaling};
pub use validate::limits;

#[cfg(test)]
mod tests;
