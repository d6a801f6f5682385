//! The file of a run, which grows by whole lines.

use super::{Header, Item, MeasuredItem, OracleError, OracleResults};
use dynlayer_model::format::write_atomic;
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
    pub(super) fn open(
        path: &Path,
        header: &Header,
        items: &[&Item],
    ) -> Result<(Self, Vec<MeasuredItem>), OracleError> {
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
            done.into_iter().map(|raw| raw.item).collect()
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

    /// Writes the whole file at once, with these lines after the header, and closes it.
    pub(super) fn replace(self, header: &Header, lines: &[u8]) -> Result<(), OracleError> {
        let bytes = line(header).map(|header| [&header, lines].concat());
        // The old file stays locked until the new one is in its place.
        bytes.and_then(|bytes| write_atomic(&self.path, &bytes)).map_err(io(&self.path, "writing"))
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
        let (_, items) = read_raw(file.as_ref())?;
        let items = items.into_iter().map(|raw| raw.item).collect();
        Ok(Self { items })
    }
}

/// A value as a line of JSON.
fn line(value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// A finished item, and the line that it stands on.
pub(super) struct RawItem {
    /// The number of the line, from 1.
    pub(super) line: usize,
    /// The line, with its end.
    pub(super) bytes: Vec<u8>,
    pub(super) item: MeasuredItem,
}

/// Reads the whole lines of a file: the header and the finished items.
pub(super) fn read_raw(path: &Path) -> Result<(Header, Vec<RawItem>), OracleError> {
    let bytes = std::fs::read(path).map_err(io(path, "reading"))?;
    parse(path, &bytes[..whole_lines(&bytes)])
}

/// Parses whole lines to the header and the items.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Header, Vec<RawItem>), OracleError> {
    let syntax = |line, expected, found| OracleError::Syntax { file: path.to_owned(), line, expected, found };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let header = lines.next().ok_or_else(|| syntax(1, HEADER, "none".to_owned()))?.0;
    let header: Header = serde_json::from_slice(header).map_err(|error| syntax(1, HEADER, error.to_string()))?;
    header.check_version(path)?;
    let item = |(bytes, line): (&[u8], usize)| match serde_json::from_slice(bytes) {
        Ok(item) => Ok(RawItem { line, bytes: bytes.to_vec(), item }),
        Err(error) => Err(syntax(line, "a finished item", error.to_string())),
    };
    Ok((header, lines.map(item).collect::<Result<_, _>>()?))
}

const HEADER: &str = "the header of a run";

/// Refuses the file if its finished items are not the first of the items to run, in the same order.
fn check_items(path: &Path, items: &[&Item], done: &[RawItem]) -> Result<(), OracleError> {
    for (at, RawItem { line, item: measured, .. }) in done.iter().enumerate() {
        match items.get(at) {
            None => return Err(other_item(path, *line, format!("no more than {} items", items.len()), measured)),
            Some(item) if item.id != measured.sequence => {
                return Err(other_item(path, *line, format!("item {}", item.id), measured));
            }
            Some(item) => check_item(path, *line, Some(item), measured)?,
        }
    }
    Ok(())
}

/// Refuses a finished item that is not this one of the run.
pub(super) fn check_item(
    path: &Path,
    line: usize,
    item: Option<&Item>,
    measured: &MeasuredItem,
) -> Result<(), OracleError> {
    let expected = match item {
        None => "an item of this run".to_owned(),
        Some(item) if item.digest() != measured.digest => {
            format!("item {} with the prompt and the reference of this run", item.id)
        }
        Some(_) => return Ok(()),
    };
    Err(other_item(path, line, expected, measured))
}

fn other_item(path: &Path, line: usize, expected: String, measured: &MeasuredItem) -> OracleError {
    OracleError::OtherItem { file: path.to_owned(), line, expected, found: measured.sequence }
}
