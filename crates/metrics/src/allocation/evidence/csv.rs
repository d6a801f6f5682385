//! Evidence from comma-separated values.

use super::builder::Builder;
use super::{Evidence, EvidenceError, Record};
use serde::Deserialize;
use std::path::Path;

const EXPECTED: &str = "comma-separated values under a header of sequence, candidate, quality, cost and optionally \
                        first_half with second_half, label_free";

/// The fields of one line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sequence: u64,
    candidate: String,
    quality: f64,
    cost: f64,
    first_half: Option<f64>,
    second_half: Option<f64>,
    label_free: Option<f64>,
}

impl Evidence {
    /// Reads a file of comma-separated values, one line at a time. After the header, each line is one [`Record`].
    ///
    /// The columns, in any order, are `sequence`, `candidate` (quoted if the name has a comma, as `"skip:3,5"`),
    /// `quality`, `cost`, and optionally `first_half` with `second_half`, and `label_free`. The halves of a sequence
    /// without halves are empty. Empty lines and a byte order mark are skipped.
    ///
    /// # Errors
    /// [`EvidenceError`] with the file and the line.
    pub fn read_csv(file: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        let file = file.as_ref();
        let mut builder = Builder::reading(file);
        let mut reader = csv::Reader::from_path(file).map_err(|error| failed(file, &builder, 1, error))?;
        let header = reader.headers().map_err(|error| failed(file, &builder, 1, error))?.clone();
        let mut row = csv::StringRecord::new();
        while reader.read_record(&mut row).map_err(|error| failed(file, &builder, 1, error))? {
            let line = row.position().map_or(1, csv::Position::line);
            let syntax = |found| EvidenceError::Syntax { place: builder.line_place(line), found, expected: EXPECTED };
            let Line { sequence, candidate, quality, cost, first_half, second_half, label_free } =
                row.deserialize(Some(&header)).map_err(|error| syntax(described(&error, &header)))?;
            if first_half.is_some() != second_half.is_some() {
                return Err(syntax("first_half or second_half alone".to_owned()));
            }
            let halves = first_half.zip(second_half).map(Into::into);
            builder.push_line(line, &Record { sequence, candidate, quality, cost, halves, label_free })?;
        }
        builder.finish()
    }
}

/// The error for a file that the parser cannot read.
fn failed(file: &Path, builder: &Builder, line: u64, error: csv::Error) -> EvidenceError {
    let line = error.position().map_or(line, csv::Position::line);
    let found = match error.into_kind() {
        csv::ErrorKind::Io(source) => {
            return EvidenceError::Io { file: file.to_owned(), action: "reading", source };
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} values under {expected_len} columns")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("text that is not UTF-8 ({err})"),
        other => format!("{other:?}"),
    };
    EvidenceError::Syntax { place: builder.line_place(line), found, expected: EXPECTED }
}

/// Describes the problem with a line, with the column's name.
fn described(error: &csv::Error, header: &csv::StringRecord) -> String {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
    let column = err.field().and_then(|at| header.get(usize::try_from(at).ok()?));
    column.map_or_else(|| err.kind().to_string(), |column| format!("column {column}: {}", err.kind()))
}
