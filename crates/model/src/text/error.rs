//! Errors of tokenizers and chat templates.

use std::fmt;

use crate::files::shorten;
use thiserror::Error;

/// An error of a tokenizer or a chat template, with the origin of the tokenizer or template.
#[derive(Debug)]
pub struct TextError {
    origin: String,
    kind: Box<TextErrorKind>,
}

impl TextError {
    /// The file or operation that failed, or the name that the caller gave.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The kind of error.
    pub fn kind(&self) -> &TextErrorKind {
        &self.kind
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.kind)
    }
}

impl std::error::Error for TextError {
    // The message contains the kind's message, so the next error in the chain is the kind's source.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

/// The kinds of errors of tokenizers and chat templates.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextErrorKind {
    /// A file cannot be read.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// A file is far larger than files of its kind usually are.
    #[error("larger than {limit} bytes, the limit for files of this kind")]
    TooLarge {
        /// The largest size that is read, in bytes.
        limit: u64,
    },
    /// A file is not JSON, or its JSON does not have the expected form.
    #[error("not the expected JSON")]
    Json(#[from] serde_json::Error),
    /// The `tokenizers` library refused a tokenizer, a text or token ids.
    #[error("the tokenizer library failed")]
    Library(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The `tokenizers` library panicked, as it does on some malformed tokenizers.
    #[error("the tokenizer library panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// A field is absent.
    #[error("`{field}` is missing, expected {expected}")]
    MissingField {
        /// The field.
        field: &'static str,
        /// The expected content.
        expected: &'static str,
    },
    /// A folder has a tokenizer, but not in the form of a `tokenizer.json`.
    #[error(
        "the file is missing, and `{found}` alone is not read; convert it with Python's transformers: \
         AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER). Token ids can be given without it"
    )]
    NeedsConversion {
        /// The file that is there.
        found: &'static str,
    },
    /// A field has a value that other tokenizers use but this crate does not implement.
    #[error("`{field}` is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        found: String,
        /// The values that this crate implements.
        supported: &'static str,
    },
    /// A field has a value that no tokenizer can have, or that contradicts another field.
    #[error("`{field}` is {found}, expected {expected}")]
    Invalid {
        /// The field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// The tokenizer has a token that the model has no embedding for, so it belongs to another model.
    #[error("{token:?} has the id {id}, but the model's vocabulary has {model_vocab} tokens")]
    Vocabulary {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The number of tokens in the model's vocabulary.
        model_vocab: usize,
    },
    /// A chat template cannot be parsed, or refused the conversation.
    #[error("cannot be {stage}: {source}")]
    Template {
        /// `parsed` or `rendered`.
        stage: &'static str,
        /// The template engine's error; for a template that calls `raise_exception`, its message.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TextErrorKind {
    pub(super) fn at(self, origin: impl Into<String>) -> TextError {
        TextError { origin: origin.into(), kind: Box::new(self) }
    }

    pub(super) fn invalid(field: impl Into<String>, found: &impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), found: shorten(found), expected: expected.into() }
    }
}
