//! Reads parts of a file on demand.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::{FormatError, FormatErrorKind};
use super::tensor_info::TensorInfo;
use crate::files::{self, Input};

/// Opens a regular file for reading.
pub(super) fn open_regular(path: &Path) -> Result<Box<dyn Input>, FormatError> {
    match files::open_regular(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(FormatErrorKind::from(source).at(path)),
    }
}

/// Returns the length of an input in bytes, and moves its position to the start.
pub(super) fn length(input: &mut impl Seek) -> io::Result<u64> {
    let length = input.seek(SeekFrom::End(0))?;
    input.rewind()?;
    Ok(length)
}

/// Returns an empty vector with room for `elements` values, or [`FormatErrorKind::OutOfMemory`].
pub(super) fn reserve<T>(elements: usize, what: &str) -> Result<Vec<T>, FormatErrorKind> {
    let mut values = Vec::new();
    values.try_reserve_exact(elements).map_err(|_| FormatErrorKind::OutOfMemory {
        what: what.to_owned(),
        needed: u64::try_from(elements.saturating_mul(size_of::<T>())).unwrap_or(u64::MAX),
    })?;
    Ok(values)
}

/// An open file or a cursor over memory.
///
/// A lock keeps each seek together with the read after it.
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

    /// Reads a range of a tensor's bytes, counted from its first byte.
    pub(super) fn read_range<T>(
        &self,
        tensor: &str,
        info: &TensorInfo<T>,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, FormatErrorKind> {
        if range.start > range.end || range.end > info.bytes {
            return Err(FormatErrorKind::PartOutOfRange {
                tensor: tensor.to_owned(),
                unit: "bytes",
                start: range.start,
                end: range.end,
                available: info.bytes,
            });
        }
        let overflow = |what| FormatErrorKind::Overflow { tensor: tensor.to_owned(), what };
        let start = info.offset.checked_add(range.start).ok_or_else(|| overflow("offset"))?;
        let needed = range.end - range.start;
        let capacity = usize::try_from(needed).map_err(|_| overflow("length in bytes"))?;
        let mut bytes = reserve(capacity, tensor)?;

        // A poisoned lock does no harm: a panic can have changed only the
        // position, and every read seeks first.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.seek(SeekFrom::Start(start))?;
        (&mut *reader).take(needed).read_to_end(&mut bytes)?;
        if bytes.len() == capacity {
            Ok(bytes)
        } else {
            // The range was inside the file when it was opened, so the file has become shorter since.
            Err(FormatErrorKind::Truncated {
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
