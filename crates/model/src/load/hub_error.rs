//! Errors of downloading from the hub.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The largest number of files that one message names.
const MAX_NAMED: usize = 8;

/// An error in getting a checkpoint from the hub, with what was asked for.
#[derive(Debug)]
pub struct HubError {
    name: String,
    revision: String,
    file: Option<String>,
    kind: Box<HubErrorKind>,
}

impl HubError {
    /// The name of the repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The file that the error is about, if it is about one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The kind of error.
    pub fn kind(&self) -> &HubErrorKind {
        &self.kind
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (revision {})", self.name, self.revision)?;
        if let Some(file) = &self.file {
            write!(f, ", {file}")?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl Error for HubError {
    // The message of this error includes that of its kind, so the next error in the chain is the source of the kind.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// The kinds of errors in getting a checkpoint from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubErrorKind {
    /// A name, revision, file name or address cannot be one.
    #[error("{found:?} is no {what}; expected {expected}")]
    Invalid {
        /// The kind of text that was expected.
        what: &'static str,
        /// The text.
        found: String,
        /// The form that is expected, in words.
        expected: &'static str,
    },
    /// The repository lacks the files of a checkpoint, or the file that was asked for.
    #[error("there is no {missing}{}; {advice}", listed(.found))]
    Missing {
        /// The file, or several in words.
        missing: String,
        /// Other files of weights in the repository.
        found: Vec<String>,
        /// Advice, in words.
        advice: &'static str,
    },
    /// The hub refused a request.
    #[error("the hub answered {status}{}: {}", in_brackets(.message), advice(*.status))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The hub's own words; empty if it gave none.
        message: String,
    },
    /// The hub cannot be reached, or the connection broke, also when tried again.
    #[error("{source}; a part that was downloaded is kept, and the next call goes on from there")]
    Network {
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No request was to be made, and the cache lacks the checkpoint.
    #[error("not in the cache folder {cache}, and no request was made, as `offline` or HF_HUB_OFFLINE says")]
    Offline {
        /// The cache folder.
        cache: PathBuf,
    },
    /// An answer is not what the hub gives. Perhaps the endpoint is another kind of server.
    #[error("the answer's {what} is {found}; expected {expected}; is the endpoint a Hugging Face hub?")]
    Answer {
        /// The header or the field.
        what: &'static str,
        /// The value found, in words.
        found: String,
        /// The expected value, in words.
        expected: &'static str,
    },
    /// The bytes are not those that the hub announced. They are deleted, so that the next call downloads them again.
    #[error("the downloaded file has the {what} {found}, but the hub announced {expected}; try again")]
    Corrupt {
        /// The property that differs.
        what: &'static str,
        /// The value of the downloaded file.
        found: String,
        /// The value that the hub announced.
        expected: String,
    },
    /// The cache folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl HubErrorKind {
    pub(super) fn at(self, name: &str, revision: &str, file: Option<&str>) -> HubError {
        let (name, revision) = (name.to_owned(), revision.to_owned());
        HubError { name, revision, file: file.map(str::to_owned), kind: Box::new(self) }
    }

    /// Returns an error of the network.
    pub(super) fn network(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Network { source: source.into() }
    }

    /// Returns `true` if another try may succeed. 416 says that the part downloaded before does not fit the file.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => matches!(*status, 408 | 416 | 429 | 500..),
            _ => false,
        }
    }
}

fn listed(found: &[String]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let more = if found.len() > MAX_NAMED { ", and more" } else { "" };
    format!(" (but {}{more})", found.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn in_brackets(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

/// Returns what to do about an HTTP status.
fn advice(status: u16) -> &'static str {
    match status {
        401 => {
            "there is no such repository, or it is private or gated; check the name, accept the licence on the \
             repository's page, and give a token (the field `token`, HF_TOKEN, or `hf auth login`)"
        }
        403 => {
            "the repository is gated or private; accept the licence on its page with the account of the token, and \
             give a token that may read it (the field `token`, HF_TOKEN, or `hf auth login`)"
        }
        404 => "there is no such repository, revision or file; check the names",
        429 => "too many requests; wait, or give a token",
        _ => "try again later",
    }
}
