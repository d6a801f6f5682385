//! The file of a run, which grows by whole lines.

use super::{Header, Item, MeasuredItem, OracleError, OracleResults};
use serde::Serialize;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A run's file, open for appending.
///
/// The first line is the header, and each later one is an item. A last line without a line end was cut off when the run
/// was killed: it is dropped, and its item runs again.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// The file, locked as long as it is open.
    file: File,
}

impl Journal {
    /// Opens or creates a run's file. Also returns the finished items. A file that is refused is not changed.
    pub(super) fn open(path: &Path, header: &Header, items: &[Item]) -> Result<(Self, Vec<MeasuredItem>), OracleError> {
        let io = |action| io(path, action);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io("opening"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OracleError::Busy { file: path.to_owned() },
            TryLockError::Error(source) => io("locking")(source),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("reading"))?;
        let whole = whole_lines(&bytes);
        let first = line(header).map_err(io("writing"))?;
        let done = if whole == 0 && first.starts_with(&bytes) {
            Vec::new()
        } else {
            let (found, done) = parse(path, &bytes[..whole])?;
            header.check(&found, path)?;
            check_items(path, items, &done)?;
            done
        };
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io("truncating"))?;
        let mut journal = Self { path: path.to_owned(), file };
        if whole == 0 {
            journal.append(header)?;
        }
        Ok((journal, done))
    }

    /// Appends a finished item, or the header, and returns when it is on the disk.
    pub(super) fn append(&mut self, value: &impl Serialize) -> Result<(), OracleError> {
        let written = line(value).and_then(|line| self.file.write_all(&line)).and_then(|()| self.file.sync_data());
        written.map_err(io(&self.path, "writing"))
    }
}

/// The error for an action on the file that the system refused.
fn io(file: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> OracleError {
    move |source| OracleError::Io { file: file.to_owned(), action, source }
}

/// The length of the whole lines at the beginning of a file.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

impl OracleResults {
    /// Reads the file of a run, finished or not. A last line that is cut off is left out.
    ///
    /// # Errors
    /// [`OracleError::Io`]; [`OracleError::Syntax`] if the file was not written by a run; or [`OracleError::Version`]
    /// if another version of this library wrote it.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, OracleError> {
        let path = file.as_ref();
        let bytes = std::fs::read(path).map_err(io(path, "reading"))?;
        let (_, items) = parse(path, &bytes[..whole_lines(&bytes)])?;
        Ok(Self { items })
    }
}

/// A value as a line of JSON.
fn line(value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Parses whole lines to the header and the items.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Header, Vec<MeasuredItem>), OracleError> {
    let syntax = |line, expected, found| OracleError::Syntax { file: path.to_owned(), line, expected, found };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let header = lines.next().ok_or_else(|| syntax(1, HEADER, "none".to_owned()))?.0;
    let header: Header = serde_json::from_slice(header).map_err(|error| syntax(1, HEADER, error.to_string()))?;
    header.check_version(path)?;
    let item = |(line, at): (&[u8], usize)| {
        serde_json::from_slice(line).map_err(|error| syntax(at, "a finished item", error.to_string()))
    };
    Ok((header, lines.map(item).collect::<Result<_, _>>()?))
}

const HEADER: &str = "the header of a run";

/// Refuses the file if its finished items are not the first of the items to run, in the same order.
fn check_items(path: &Path, items: &[Item], done: &[MeasuredItem]) -> Result<(), OracleError> {
    for (at, measured) in done.iter().enumerate() {
        let expected = match items.get(at) {
            None => format!("no more than {} items", items.len()),
            Some(item) if item.id != measured.sequence => format!("item {}", item.id),
            Some(item) if item.digest() != measured.digest => {
                format!("item {} with the prompt and the reference of this run", item.id)
            }
            Some(_) => continue,
        };
        let (file, line) = (path.to_owned(), at + 2);
        return Err(OracleError::OtherItem { file, line, expected, found: measured.sequence });
    }
    Ok(())
}
