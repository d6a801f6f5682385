//! Evidence in files of JSON lines.

use super::builder::Builder;
use super::{Evidence, EvidenceError};
use crate::output::write_atomic;
use std::io::{BufRead, BufReader};
use std::path::Path;

const EXPECTED: &str =
    "one JSON object per line, with sequence, candidate, quality, cost and optionally halves, label_free";

/// The mark with which some programs begin a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl Evidence {
    /// Reads a file of one JSON object per line, each a [`Record`](super::Record), line by line. Blank lines and a byte
    /// order mark are skipped.
    ///
    /// # Errors
    /// [`EvidenceError`] with the file and the line. A truncated last line is an error too.
    pub fn read_jsonl(file: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        let file = file.as_ref();
        let io = |action| move |source| EvidenceError::Io { file: file.to_owned(), action, source };
        let mut reader = BufReader::new(std::fs::File::open(file).map_err(io("opening"))?);
        let mut builder = Builder::reading(file);
        let mut bytes = Vec::new();
        for line in 1u64.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).map_err(io("reading"))? == 0 {
                break;
            }
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| line == 1).unwrap_or(&bytes).trim_ascii_end();
            if text.is_empty() {
                continue;
            }
            let syntax = |found| EvidenceError::Syntax { place: builder.line_place(line), found, expected: EXPECTED };
            // serde would also accept a list of values as a record.
            if text.trim_ascii_start().first() != Some(&b'{') {
                return Err(syntax("no JSON object".to_owned()));
            }
            let record = serde_json::from_slice(text).map_err(|error| syntax(in_line(&error)))?;
            builder.push_line(line, &record)?;
        }
        builder.finish()
    }

    /// Writes one JSON object per line. Reading them returns the same numbers, bit for bit.
    ///
    /// The file appears complete or not at all: it is written under another name in the same folder and then renamed.
    /// The target of a link is replaced, not the link; a pipe or a device is written to directly.
    ///
    /// # Errors
    /// [`EvidenceError::Io`].
    pub fn write_jsonl(&self, file: impl AsRef<Path>) -> Result<(), EvidenceError> {
        let file = file.as_ref();
        let written = write_atomic(file, |out| {
            self.records().try_for_each(|record| {
                serde_json::to_writer(&mut *out, &record)?;
                out.write_all(b"\n")
            })
        });
        written.map_err(|source| EvidenceError::Io { file: file.to_owned(), action: "writing", source })
    }
}

/// The parser's message without the line number, which is always 1 because the parser gets one line at a time.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}
