//! Reads a binary header field by field, and never past its end.

use std::io::{BufReader, Read};

use super::data_reader::reserve;
use super::error::FormatErrorKind;

/// The beginning of a pointer of Git LFS, which may stand in the place of any large file.
pub(super) const LFS_POINTER: [u8; 8] = *b"version ";

/// A little-endian reader that knows how many bytes are left.
///
/// The argument `what` of its methods is the name of the field, for the error.
#[derive(Debug)]
pub(super) struct HeaderReader<R> {
    inner: BufReader<R>,
    position: u64,
    end: u64,
}

impl<R: Read> HeaderReader<R> {
    /// Makes a reader for a header that begins at the current position of
    /// `inner`. It is at most `end` bytes long: the rest of the file, or the
    /// longest accepted header if that is less.
    pub(super) fn new(inner: R, end: u64) -> Self {
        Self { inner: BufReader::new(inner), position: 0, end }
    }

    /// The number of bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The number of bytes left.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// Checks that enough bytes are left for `count` items of at least `size`
    /// bytes each, and returns the count as `usize`.
    pub(super) fn require(&self, what: &str, count: u64, size: u64) -> Result<usize, FormatErrorKind> {
        let needed = count.checked_mul(size);
        let truncated = || FormatErrorKind::Truncated {
            what: what.to_owned(),
            needed: needed.unwrap_or(u64::MAX),
            available: self.left(),
        };
        if needed.is_none_or(|needed| needed > self.left()) {
            return Err(truncated());
        }
        usize::try_from(count).map_err(|_| truncated())
    }

    /// Reads `count` bytes.
    pub(super) fn bytes(&mut self, what: &str, count: u64) -> Result<Vec<u8>, FormatErrorKind> {
        let length = self.require(what, count, 1)?;
        let mut bytes = reserve(length, what)?;
        bytes.resize(length, 0);
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], FormatErrorKind> {
        self.require(what, u64::try_from(N).unwrap_or(u64::MAX), 1)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, FormatErrorKind> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, FormatErrorKind> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Reads a `gguf_string_t`: a `u64` length and that many bytes of UTF-8.
    pub(super) fn string(&mut self, what: &str) -> Result<String, FormatErrorKind> {
        let length = self.u64(what)?;
        let bytes = self.bytes(what, length)?;
        String::from_utf8(bytes)
            .map_err(|error| FormatErrorKind::BadUtf8 { what: what.to_owned(), source: error.utf8_error() })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FormatErrorKind> {
        self.inner.read_exact(bytes)?;
        let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.position = self.position.saturating_add(read);
        Ok(())
    }
}
