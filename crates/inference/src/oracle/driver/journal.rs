//! The file of a run: it only ever grows by whole lines.

use super::{DriveError, Header, Item, Measured};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A run's file, open for more.
///
/// The first line is the header, each later one an item. A line without its end was being written when the run was
/// killed: it is dropped, and its item run again.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
}

impl Journal {
    /// Opens a run or begins one, and says what is finished. Nothing is changed if the file is refused.
    pub(super) fn open(path: &Path, header: &Header, items: &[Item]) -> Result<(Self, Vec<Measured>), DriveError> {
        let io = |action| move |source| DriveError::Io { file: path.to_owned(), action, source };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io("opening"))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DriveError::Busy { file: path.to_owned() },
            TryLockError::Error(source) => io("locking")(source),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("reading"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let first = line(header).map_err(io("writing"))?;
        let done = if whole == 0 && first.starts_with(&bytes) {
            Vec::new()
        } else {
            let (found, done) = parse(path, &bytes[..whole])?;
            header.check(&found, path)?;
            check_items(path, items, &done)?;
            done
        };
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io("cutting"))?;
        let mut journal = Self { path: path.to_owned(), file };
        if whole == 0 {
            journal.write(&first)?;
        }
        Ok((journal, done))
    }

    /// Adds a finished item, and returns when it is on the disk.
    pub(super) fn append(&mut self, measured: &Measured) -> Result<(), DriveError> {
        let line =
            line(measured).map_err(|source| DriveError::Io { file: self.path.clone(), action: "writing", source })?;
        self.write(&line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), DriveError> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        written.map_err(|source| DriveError::Io { file: self.path.clone(), action: "writing", source })
    }
}

/// The header and the items of a run's file; a line without its end is left out.
pub(super) fn read(path: &Path) -> Result<(Header, Vec<Measured>), DriveError> {
    let io = |source| DriveError::Io { file: path.to_owned(), action: "reading", source };
    let bytes = std::fs::read(path).map_err(io)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    parse(path, &bytes[..whole])
}

fn line(value: &impl serde::Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Whole lines.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Header, Vec<Measured>), DriveError> {
    let syntax = |line, expected, found| DriveError::Syntax { file: path.to_owned(), line, expected, found };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
    let header = lines.next().ok_or_else(|| syntax(1, HEADER, "none".to_owned()))?.0;
    let header = serde_json::from_slice(header).map_err(|error| syntax(1, HEADER, error.to_string()))?;
    let item = |(line, at): (&[u8], usize)| {
        serde_json::from_slice(line).map_err(|error| syntax(at, "a finished item", error.to_string()))
    };
    Ok((header, lines.map(item).collect::<Result<_, _>>()?))
}

const HEADER: &str = "the header of a run";

/// Finished items are the first of those that are to be run.
fn check_items(path: &Path, items: &[Item], done: &[Measured]) -> Result<(), DriveError> {
    for (at, measured) in done.iter().enumerate() {
        let expected = match items.get(at) {
            None => format!("no more than {} items", items.len()),
            Some(item) if item.id != measured.sequence => format!("item {}", item.id),
            Some(item) if item.digest() != measured.digest => {
                format!("item {} with the prompt and the reference that it has now", item.id)
            }
            Some(_) => continue,
        };
        let (file, line) = (path.to_owned(), at + 2);
        return Err(DriveError::OtherItem { file, line, expected, found: measured.sequence });
    }
    Ok(())
}
