//! Reads pieces of an open file, on demand.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::FormatError;
use super::tensor_info::TensorInfo;
use crate::files::{self, Input};
use std::fs::File;

/// Opens a regular file for reading.
pub(super) fn open_regular(path: &Path) -> Result<File, FormatError> {
    files::open_regular(path).map_err(|source| FormatError::Io { path: path.to_path_buf(), source })
}

/// Length of what a reader reads, in bytes; leaves the reader at the start.
pub(super) fn length<R: Seek>(reader: &mut R, path: &Path) -> Result<u64, FormatError> {
    reader
        .seek(SeekFrom::End(0))
        .and_then(|length| reader.rewind().map(|()| length))
        .map_err(|source| FormatError::Io { path: path.to_path_buf(), source })
}

/// An empty vector with room for `elements` values, or a typed error.
pub(super) fn reserve<T>(elements: usize, path: &Path, what: &str) -> Result<Vec<T>, FormatError> {
    let mut values = Vec::new();
    values.try_reserve_exact(elements).map_err(|_| FormatError::OutOfMemory {
        path: path.to_path_buf(),
        what: what.to_owned(),
        needed: u64::try_from(elements.saturating_mul(size_of::<T>())).unwrap_or(u64::MAX),
    })?;
    Ok(values)
}

/// An open file, or a cursor over memory, behind a lock, because a seek and the read after it belong
/// together.
pub(super) struct DataReader {
    path: PathBuf,
    reader: Mutex<Box<dyn Input>>,
}

impl DataReader {
    pub(super) fn new(path: PathBuf, reader: Box<dyn Input>) -> Self {
        Self { path, reader: Mutex::new(reader) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the bytes `range` of a tensor, counted from its first byte.
    pub(super) fn read_range<T>(
        &self,
        tensor: &str,
        info: &TensorInfo<T>,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, FormatError> {
        if range.start > range.end || range.end > info.bytes {
            return Err(FormatError::PartOutOfRange {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                unit: "bytes",
                start: range.start,
                end: range.end,
                available: info.bytes,
            });
        }
        let overflow = |what| FormatError::Overflow { path: self.path.clone(), tensor: tensor.to_owned(), what };
        let start = info.offset.checked_add(range.start).ok_or_else(|| overflow("offset"))?;
        let needed = range.end - range.start;
        let capacity = usize::try_from(needed).map_err(|_| overflow("length in bytes"))?;
        let mut bytes = reserve(capacity, &self.path, tensor)?;

        // A panic elsewhere while the lock was held leaves only a file
        // position behind, and every read seeks first.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader
            .seek(SeekFrom::Start(start))
            .and_then(|_| (&mut *reader).take(needed).read_to_end(&mut bytes))
            .map_err(|source| FormatError::Io { path: self.path.clone(), source })?;
        if bytes.len() == capacity {
            Ok(bytes)
        } else {
            // The range was inside the file when it was opened.
            Err(FormatError::Truncated {
                path: self.path.clone(),
                what: format!("tensor {tensor}"),
                needed,
                available: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            })
        }
    }
}

impl fmt::Debug for DataReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataReader").field("path", &self.path).finish_non_exhaustive()
    }
}
