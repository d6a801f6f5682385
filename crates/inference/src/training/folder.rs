//! The folder of a training, and the log in it.

use super::TrainingError;
use dynlayer_model::format::write_atomic;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of a training that can be stopped and continued; see [`Trainer::in_folder`](super::Trainer::in_folder).
#[derive(Clone, Copy, Debug)]
pub struct TrainingFolder<'a> {
    /// The folder.
    pub path: &'a Path,
    /// A name for what the training depends on besides its options, the weights that it begins with and its first
    /// batch, such as the rest of the data. A checkpoint with another name is refused.
    pub what: &'a str,
}

/// The log of a training: a file with a line of JSON per step.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the log of a folder and keeps the lines of the first `steps` steps. Later lines are dropped, as their
    /// steps will be done again.
    pub(super) fn open(folder: &Path, steps: u64) -> Result<Self, TrainingError> {
        let path = folder.join("steps.jsonl");
        let io = |what| {
            let path = path.clone();
            move |source| TrainingError::Io { path, what, source }
        };
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(io("cannot be read"))?;
            let kept: String = text.split_inclusive('\n').take(usize::try_from(steps).unwrap_or(usize::MAX)).collect();
            write_atomic(&path, kept.as_bytes()).map_err(io("cannot be written"))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io("cannot be opened"))?;
        Ok(Self { path, file })
    }

    pub(super) fn write(&mut self, report: &impl Serialize) -> Result<(), TrainingError> {
        let io = |source| TrainingError::Io { path: self.path.clone(), what: "cannot be written", source };
        let mut line = serde_json::to_vec(report).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(io)
    }
}
