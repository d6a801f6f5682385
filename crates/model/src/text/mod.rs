//! Tokenizers, streaming decoders and chat templates.
//!
//! A [`Tokenizer`] is made from a Hugging Face folder ([`Tokenizer::from_hf_folder`]) or from GGUF metadata
//! ([`GgufTokenizerData::build`]); both use the same `tokenizers` pipeline, so they give the same ids. A
//! [`StreamDecoder`] turns ids into text while they arrive, without ever splitting a character. A [`ChatTemplate`]
//! renders a conversation the way transformers does.
//!
//! No file is trusted: an invalid one gives a [`TextError`] that names the file, the field and the value found.

mod chat;
mod decoding;
mod error;
mod frame;
mod gguf;
mod guard;
mod hf_folder;
mod precheck;
mod special_tokens;
mod stream;
mod tokenizer;

pub use chat::{ChatMessage, ChatTemplate};
pub use error::{TextError, TextErrorKind};
pub use gguf::GgufTokenizerData;
pub use special_tokens::SpecialTokens;
pub use stream::StreamDecoder;
pub use tokenizer::Tokenizer;

#[cfg(test)]
mod tests;
