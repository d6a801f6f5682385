//! Errors of configurations.

use std::fmt;

use thiserror::Error;

/// An error in reading, checking or writing a model configuration, with the origin of the configuration.
#[derive(Debug)]
pub struct ConfigError {
    origin: String,
    kind: Box<ConfigErrorKind>,
}

impl ConfigError {
    /// The file that the configuration came from, or the name that the caller gave it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The kind of error.
    pub fn kind(&self) -> &ConfigErrorKind {
        &self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.kind)
    }
}

impl std::error::Error for ConfigError {
    // The message contains the kind's message, so the next error in the chain is the kind's source.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

impl ConfigErrorKind {
    pub(super) fn at(self, origin: impl Into<String>) -> ConfigError {
        ConfigError { origin: origin.into(), kind: Box::new(self) }
    }
}

/// The kinds of errors in a model configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The file cannot be read.
    #[error("cannot be read")]
    Io(#[source] std::io::Error),
    /// The text is far larger than any configuration.
    #[error("{bytes} bytes are too many for a model configuration, at most {limit} are read")]
    TooLarge {
        /// The size of the text.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The text is not JSON.
    #[error("not valid JSON")]
    Json(#[source] serde_json::Error),
    /// The JSON is not an object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The beginning of the JSON value found instead.
        found: String,
    },
    /// A field has a value of the wrong JSON type.
    #[error("field `{field}` has the wrong type, found {found}")]
    WrongType {
        /// The field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// The parser's error, which names the expected type.
        source: serde_json::Error,
    },
    /// A field that has no default is absent.
    #[error("field `{field}` is missing, expected {expected}")]
    MissingField {
        /// The field.
        field: &'static str,
        /// The expected content.
        expected: &'static str,
    },
    /// A field has a value that other models use but this crate does not implement.
    #[error("field `{field}` is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        found: String,
        /// The values that this crate implements.
        supported: &'static str,
    },
    /// A field has a value that no model can have, or that contradicts another field.
    #[error("field `{field}` is {found}, expected {expected}")]
    Invalid {
        /// The field, by its name in this crate, its name in `config.json`, or both.
        field: &'static str,
        /// Its value.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// The configuration cannot be written as JSON.
    #[error("cannot be written as JSON")]
    Write(#[source] serde_json::Error),
}
