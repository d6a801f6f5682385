//! What can be wrong with a configuration.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model configuration was refused.
///
/// `origin` names where the configuration came from: a path, or whatever name the caller gave.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the model configuration {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is far larger than any configuration.
    #[error("{origin}: {bytes} bytes are too many for a model configuration, at most {limit} are read")]
    TooLarge {
        /// Where the configuration came from.
        origin: String,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The text is not JSON.
    #[error("{origin}: not valid JSON")]
    Json {
        /// Where the configuration came from.
        origin: String,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// The JSON is not an object.
    #[error("{origin}: expected a JSON object, found {found}")]
    NotAnObject {
        /// Where the configuration came from.
        origin: String,
        /// The start of what was found.
        found: String,
    },
    /// A field has a value of the wrong JSON type.
    #[error("{origin}: field `{field}` has the wrong type, found {found}")]
    WrongType {
        /// Where the configuration came from.
        origin: String,
        /// The field.
        field: String,
        /// Its value, shortened.
        found: String,
        /// What the parser expected instead.
        source: serde_json::Error,
    },
    /// A field that has no default is absent.
    #[error("{origin}: field `{field}` is missing, expected {expected}")]
    MissingField {
        /// Where the configuration came from.
        origin: String,
        /// The field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A value that exists in other models, but that this crate does not implement.
    #[error("{origin}: field `{field}` is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// Where the configuration came from.
        origin: String,
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        found: String,
        /// What this crate implements.
        supported: &'static str,
    },
    /// A value that no model can have, or that contradicts another one.
    #[error("{origin}: field `{field}` is {found}, expected {expected}")]
    Invalid {
        /// Where the configuration came from.
        origin: String,
        /// The field, by the name used here and by that of `config.json`.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The configuration cannot be written as JSON.
    #[error("cannot write the model configuration as JSON")]
    Write {
        /// What the writer said.
        source: serde_json::Error,
    },
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
