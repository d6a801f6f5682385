//! The error for a run that cannot begin or continue.

use crate::control::ControllerError;
use crate::controllers::BuildError;
use crate::generation::GenerateError;
use dynlayer_metrics::allocation::EvidenceError;
use dynlayer_model::DeviceReadError;
use dynlayer_model::text::TextError;
use std::path::PathBuf;

/// The error for a run over prompts and candidates that cannot begin or continue. Finished items stay in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OracleError {
    /// An option is out of its range, or contradicts another one.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The option's value.
        found: String,
    },
    /// Two items have the same id.
    #[error("item {id} comes twice; expected distinct ids")]
    DuplicateItem {
        /// The id.
        id: u64,
    },
    /// An item cannot be run, or its run failed.
    #[error("item {id}")]
    Item {
        /// The item's id.
        id: u64,
        /// The cause.
        source: GenerateError,
    },
    /// An item's reference is too short to be scored.
    #[error("item {id}: expected a reference of at least {expected} tokens, found {found}")]
    Reference {
        /// The item's id.
        id: u64,
        /// Number of tokens that are needed.
        expected: usize,
        /// Number of tokens of the reference.
        found: usize,
    },
    /// A candidate's controller cannot be made.
    #[error("candidate {candidate:?}")]
    Candidate {
        /// The candidate's name.
        candidate: String,
        /// The cause.
        source: Box<BuildError>,
    },
    /// A candidate's controller refuses the model or the settings of the run.
    #[error("candidate {candidate:?} cannot run here")]
    Refused {
        /// The candidate's name.
        candidate: String,
        /// The controller's reason.
        source: ControllerError,
    },
    /// A quality is not finite.
    #[error("item {id}, candidate {candidate:?}, {column}: expected a finite quality, found {found}")]
    Quality {
        /// The item's id.
        id: u64,
        /// The candidate's name.
        candidate: String,
        /// The name of the quality.
        column: &'static str,
        /// The value of the quality.
        found: f64,
    },
    /// The file cannot be read or written.
    #[error("{}: {action} failed", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The action that failed, such as "reading".
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another run is writing the file.
    #[error("{}: another run is writing it", file.display())]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// The file was not written by a run, or is damaged.
    #[error("{}, line {line}: expected {expected}, found {found}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The expected content of the line.
        expected: &'static str,
        /// The fault that the parser found, or "none" if the line is missing.
        found: String,
    },
    /// The file was written by another version of this library.
    #[error(
        "{}: expected a run's file of version {expected}, found version {found}, which cannot be continued or read; \
         use another file, or remove this one",
        file.display()
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// The version that this library writes.
        expected: u32,
        /// The file's version.
        found: u32,
    },
    /// The file belongs to a run with other settings, another model or other inputs.
    #[error(
        "{}: belongs to a run that differs in {setting}: expected {expected}, found {found}; use another file, or \
         remove this one",
        file.display()
    )]
    OtherRun {
        /// The file.
        file: PathBuf,
        /// The first setting that differs, such as `run.seed` or `the weights`.
        setting: String,
        /// The setting's value in this run; of contents, the digest.
        expected: String,
        /// The setting's value in the file.
        found: String,
    },
    /// Something that a candidate reads was replaced while the run went on.
    #[error(
        "{what} was replaced during the run: it was {before} and is now {now}; {} keeps the items that were finished, \
         and continues once the old one is back",
        file.display()
    )]
    Replaced {
        /// The run's file.
        file: PathBuf,
        /// The name of what was replaced, such as `the router of candidate router:FILE`.
        what: String,
        /// Its digest at the beginning.
        before: String,
        /// Its digest now.
        now: String,
    },
    /// The file holds other items, or the same items in another order.
    #[error("{}, line {line}: expected {expected}, found item {found}", file.display())]
    OtherItem {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The expected item.
        expected: String,
        /// The id of the item in the file.
        found: u64,
    },
    /// An item is in the files of two shards.
    #[error("item {id} is in {} and in {}; name each shard once, and remove the files of another \
             division", file.display(), other.display())]
    Twice {
        /// The item's id.
        id: u64,
        /// A file.
        file: PathBuf,
        /// The other file.
        other: PathBuf,
    },
    /// Items are in no shard's file.
    #[error("{missing} of {total} items are in no shard, item {first} first; run the shards that are not finished")]
    Missing {
        /// The number of items.
        missing: usize,
        /// The number of all items of the run.
        total: usize,
        /// The id of the first one.
        first: u64,
    },
    /// A weight cannot be read from the device.
    #[error(transparent)]
    Device(#[from] DeviceReadError),
    /// The tokenizer has no digest.
    #[error(transparent)]
    Tokenizer(#[from] TextError),
    /// The results are not a valid table.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}
