//! Text: tokenizers, decoding while a model generates, and chat templates.
//!
//! A [`Tokenizer`] comes from a Hugging Face folder ([`Tokenizer::from_hf_folder`]) or from GGUF metadata
//! ([`GgufTokenizerData::build`]); both are the same `tokenizers` pipeline inside, so they encode alike. A
//! [`StreamDecoder`] turns ids into text while they arrive, without ever splitting a character. A [`ChatTemplate`]
//! renders a conversation the way transformers does.
//!
//! Every file here is untrusted: wrong ones give a [`TextError`] that names the file, the field and what was found.

mod chat;
mod decoding;
mod error;
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
