//! The files of a checkpoint, in a folder or in memory, behind one interface for the readers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A source of bytes that readers can seek in: an open file, or a cursor over memory.
pub(crate) trait Input: Read + Seek + Send {}

impl<T: Read + Seek + Send> Input for T {}

/// Named files, opened on demand.
#[derive(Debug)]
pub(crate) enum Files {
    /// The files of a folder on disk.
    Folder(PathBuf),
    /// Files in memory, by name.
    Memory(BTreeMap<String, Bytes>),
}

impl Files {
    /// The path of the folder, or a label for messages if the files are in memory.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Memory(_) => Path::new("files in memory"),
        }
    }

    /// Returns a file's path for messages; in memory it is the name alone.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Memory(_) => PathBuf::from(name),
        }
    }

    /// Returns `true` if there is a file of this name.
    pub(crate) fn exists(&self, name: &str) -> io::Result<bool> {
        match self {
            Self::Folder(folder) => folder.join(name).try_exists(),
            Self::Memory(files) => Ok(files.contains_key(name)),
        }
    }

    /// Opens a file for reading. If it does not exist, the error is of kind [`NotFound`](io::ErrorKind::NotFound).
    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn Input>> {
        match self {
            Self::Folder(folder) => Ok(Box::new(open_regular(&folder.join(name))?)),
            Self::Memory(files) => match files.get(name) {
                Some(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "not among the files in memory")),
            },
        }
    }
}

/// The content of a file in memory; clones share it.
#[derive(Clone)]
pub(crate) struct Bytes(Arc<Cow<'static, [u8]>>);

impl Bytes {
    pub(crate) fn new(bytes: Cow<'static, [u8]>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Opens a regular file for reading.
///
/// Other files are refused without opening them: a pipe would block, and a device has no length to check the sizes in
/// a header against.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// Reads to the end, but at most `limit + 1` bytes. A result longer than `limit` means that the input is too long.
pub(crate) fn read_limited(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Formats a value from a file for a message, cut to 80 characters, because a hostile file may hold very long values.
pub(crate) fn shorten(value: &impl ToString) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
