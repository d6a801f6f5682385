//! GGUF files that are split into parts, as `llama-gguf-split` of llama.cpp writes them.
//!
//! Part 2 of 3 is called `NAME-00002-of-00003.gguf`. Each part is a GGUF file of its own, with some of the tensors.
//! The first has the metadata, the others only the keys `split.*`, which give the place of a part (from 0), the number
//! of parts and the number of tensors in all of them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{FormatError, FormatErrorKind};
use super::gguf_metadata::GgufMetadata;

/// The largest accepted number of parts. A file of two terabytes in parts of 512 MB has that many.
const MAX_PARTS: u64 = 4096;

/// The place of a file among the parts of a split one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// The part, counted from 0.
    number: u64,
    /// The number of parts, 2 or more.
    count: u64,
    /// The number of tensors in all parts, if the file says.
    tensors: Option<u64>,
}

impl Split {
    /// Reads the place of the file at `path`; `None` if it is not split.
    pub(super) fn read(metadata: &GgufMetadata, path: &Path) -> Result<Option<Self>, FormatError> {
        // Files whose parts were merged keep the key, with a count of 0.
        let count = GgufMetadata::optional(metadata.get_u64("split.count"))?.unwrap_or(0);
        if count < 2 {
            return Ok(None);
        }
        if count > MAX_PARTS {
            return Err(FormatErrorKind::invalid("split.count", count, format!("at most {MAX_PARTS}")).at(path));
        }
        let number = metadata.get_u64("split.no")?;
        let tensors = GgufMetadata::optional(metadata.get_u64("split.tensors.count"))?;
        Ok(Some(Self { number, count, tensors }))
    }

    /// Returns the numbers and paths of the other parts, given the path of this one, which has to be the first.
    pub(super) fn others(&self, path: &Path) -> Result<Vec<(u64, PathBuf)>, FormatError> {
        let own_ending = self.ending(self.number);
        let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(own_ending.as_str()));
        if self.number != 0 {
            let first = format!("{}{}", stem.unwrap_or("*"), self.ending(0));
            let (part, count) = (self.number.saturating_add(1), self.count);
            return Err(FormatErrorKind::NotFirstPart { part, count, first }.at(path));
        }
        let Some(stem) = stem else {
            let found = path.file_name().map_or_else(String::new, |name| name.display().to_string());
            let what = format!("the file name of {self}");
            let expected = format!("a name that ends in {own_ending}, by which the other parts are found");
            return Err(FormatErrorKind::invalid(what, found, expected).at(path));
        };
        let (mut others, mut missing) = (Vec::new(), Vec::new());
        for number in 1..self.count {
            let name = format!("{stem}{}", self.ending(number));
            let other = path.with_file_name(&name);
            match other.try_exists() {
                Ok(true) => others.push((number, other)),
                Ok(false) => missing.push(name),
                Err(error) => return Err(FormatErrorKind::Io(error).at(other)),
            }
        }
        if missing.is_empty() { Ok(others) } else { Err(FormatErrorKind::MissingShards { shards: missing }.at(path)) }
    }

    /// Checks that the file that should be part `number` of this split says so.
    pub(super) fn check_part(&self, number: u64, found: Option<Self>) -> Result<(), FormatErrorKind> {
        let expected = Self { number, ..*self };
        let fits = found.is_some_and(|found| {
            let tensors = found.tensors.or(self.tensors);
            (found.number, found.count, tensors) == (number, self.count, self.tensors.or(tensors))
        });
        if fits {
            return Ok(());
        }
        let found = found.map_or_else(|| "no part of a split file".to_owned(), |found| found.to_string());
        let expected = format!("{expected}, as its name and the first part say");
        Err(FormatErrorKind::invalid("the file", found, expected))
    }

    /// Checks the number of tensors of all parts together.
    pub(super) fn check_tensors(&self, found: usize) -> Result<(), FormatErrorKind> {
        match self.tensors {
            Some(expected) if u64::try_from(found) != Ok(expected) => {
                let expected = format!("{expected}, as split.tensors.count says: the parts are of different files");
                Err(FormatErrorKind::invalid("the number of tensors in all parts", found, expected))
            }
            _ => Ok(()),
        }
    }

    /// Returns the error for a part that leads to no others.
    pub(super) fn alone(&self) -> FormatErrorKind {
        FormatErrorKind::PartInMemory { part: self.number.saturating_add(1), count: self.count }
    }

    /// Returns the end of the file name of a part.
    fn ending(&self, number: u64) -> String {
        format!("-{:05}-of-{:05}.gguf", number.saturating_add(1), self.count)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {} of a split file", self.number.saturating_add(1), self.count)?;
        match self.tensors {
            Some(tensors) => write!(f, " with {tensors} tensors in all"),
            None => Ok(()),
        }
    }
}
