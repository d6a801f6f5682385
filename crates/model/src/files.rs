//! The files of a checkpoint, in a folder or in memory, behind one interface for the readers.

use serde_json::Value;
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

    /// Returns the names of all files, sorted; of a folder, no more than the first `limit` that the system lists.
    pub(crate) fn names(&self, limit: usize) -> io::Result<Vec<String>> {
        let mut names = match self {
            Self::Folder(folder) => fs::read_dir(folder)?
                .take(limit)
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()?,
            Self::Memory(files) => files.keys().cloned().collect(),
        };
        names.sort();
        Ok(names)
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

/// Parses JSON in which Python has written numbers that JSON lacks: `NaN`, `Infinity` and `-Infinity` become strings.
///
/// A reader that needs such a field thus refuses it by name, and all others ignore it.
pub(crate) fn python_json(json: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(json).or_else(|error| serde_json::from_slice(&quote_literals(json)).map_err(|_| error))
}

/// Puts Python's numbers outside of strings in quotes.
fn quote_literals(json: &[u8]) -> Vec<u8> {
    const LITERALS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let (mut quoted, mut rest) = (Vec::with_capacity(json.len()), json);
    let (mut in_string, mut escaped) = (false, false);
    while let [first, others @ ..] = rest {
        let literal = LITERALS.into_iter().find(|literal| !in_string && rest.starts_with(literal));
        if let Some(literal) = literal {
            quoted.push(b'"');
            quoted.extend_from_slice(literal);
            quoted.push(b'"');
            rest = &rest[literal.len()..];
            continue;
        }
        in_string ^= *first == b'"' && !escaped;
        escaped = in_string && *first == b'\\' && !escaped;
        quoted.push(*first);
        rest = others;
    }
    quoted
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

/// Joins the first names of a list for a message, each cut as by [`shorten`], and says how many more there are.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(shorten).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}
