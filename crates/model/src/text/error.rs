//! What can be wrong with a tokenizer or a chat template.

use std::path::PathBuf;

use thiserror::Error;

/// Why a tokenizer or a chat template was refused, or failed.
///
/// `origin` names where it came from: a path, or whatever name the caller gave.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is far larger than any of its kind.
    #[error("{origin}: larger than the {limit} bytes that are read of such a file")]
    TooLarge {
        /// Where the text came from.
        origin: String,
        /// The most that is read.
        limit: u64,
    },
    /// A file is not JSON, or its JSON does not have the expected form.
    #[error("{origin}: not the expected JSON")]
    Json {
        /// Where the text came from.
        origin: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The `tokenizers` library refused a tokenizer.
    #[error("{origin}: not a usable tokenizer")]
    Tokenizer {
        /// Where the tokenizer came from.
        origin: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The `tokenizers` library panicked, as it does on some malformed tokenizers.
    #[error("{origin}: the tokenizer library gave up on it: {message}")]
    Panicked {
        /// Where the tokenizer came from, or what was done with it.
        origin: String,
        /// The panic's message.
        message: String,
    },
    /// A field is absent.
    #[error("{origin}: `{field}` is missing, expected {expected}")]
    MissingField {
        /// Where it should have been.
        origin: String,
        /// The field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A kind of tokenizer that exists, but that this crate does not implement.
    #[error("{origin}: `{field}` is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// Where it was found.
        origin: String,
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        found: String,
        /// What this crate implements.
        supported: &'static str,
    },
    /// A value that no tokenizer can have, or that contradicts another one.
    #[error("{origin}: `{field}` is {found}, expected {expected}")]
    Invalid {
        /// Where it was found.
        origin: String,
        /// The field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The tokenizer has a token that the model has no embedding for, so it is not this model's tokenizer.
    #[error("the tokenizer gives {token:?} the id {id}, but the model's vocabulary has {model_vocab} tokens")]
    Vocabulary {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The model's vocabulary.
        model_vocab: usize,
    },
    /// A text cannot be encoded.
    #[error("cannot encode the text")]
    Encode {
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Ids cannot be decoded.
    #[error("cannot decode the token ids")]
    Decode {
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A chat template cannot be parsed, or refused the conversation.
    #[error("the chat template cannot be {stage}: {source}")]
    Template {
        /// `parsed` or `rendered`.
        stage: &'static str,
        /// What the template engine said; for a template that calls `raise_exception`, its message.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TextError {
    pub(super) fn invalid(
        origin: &str,
        field: impl Into<String>,
        found: &impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            origin: origin.to_owned(),
            field: field.into(),
            found: shorten(found),
            expected: expected.into(),
        }
    }
}

/// A value as it is shown in a message: hostile files hold values of any length.
pub(super) fn shorten(value: &impl ToString) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
