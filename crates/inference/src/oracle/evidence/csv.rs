//! Evidence from a table of comma-separated values.

use super::{Evidence, EvidenceBuilder, EvidenceError, Record};
use csv::StringRecord;
use std::path::Path;
use std::str::FromStr;

const NEEDED: [&str; 4] = ["sequence", "candidate", "quality", "cost"];
const KNOWN: [&str; 7] = ["sequence", "candidate", "quality", "cost", "first_half", "second_half", "label_free"];

impl Evidence {
    /// Reads comma-separated values: a header, then one cell per line, line by line.
    ///
    /// Columns in any order: `sequence`, `candidate` (quoted where the name has a comma, as `"skip:3,5"`), `quality`,
    /// `cost`, and optionally `first_half` with `second_half`, and `label_free`.
    ///
    /// # Errors
    /// [`EvidenceError`] naming file, line and column, with what was found and what was expected.
    pub fn read_csv(file: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        let file = file.as_ref();
        let mut builder = EvidenceBuilder::reading(file);
        let mut reader = csv::Reader::from_path(file).map_err(|error| failed(file, &builder, error))?;
        let header = reader.headers().map_err(|error| failed(file, &builder, error))?.clone();
        check_header(&builder, &header)?;
        let mut row = StringRecord::new();
        while reader.read_record(&mut row).map_err(|error| failed(file, &builder, error))? {
            let line = row.position().map_or(0, csv::Position::line);
            let fields = Fields { builder: &builder, header: &header, row: &row, line };
            let record = fields.record()?;
            builder.push_line(line, &record)?;
        }
        builder.finish()
    }
}

fn check_header(builder: &EvidenceBuilder, header: &StringRecord) -> Result<(), EvidenceError> {
    let refuse = |column: &str, expected: String, found: &str| {
        let (column, found) = (column.to_owned(), found.to_owned());
        Err(EvidenceError::Value { place: builder.line(1), column, expected, found })
    };
    for (at, name) in header.iter().enumerate() {
        if !KNOWN.contains(&name) {
            return refuse(name, format!("only {}", KNOWN.join(", ")), "another name");
        }
        if header.iter().take(at).any(|before| before == name) {
            return refuse(name, "each column once".to_owned(), "it twice");
        }
    }
    let has = |name: &str| header.iter().any(|column| column == name);
    let missing = NEEDED.into_iter().find(|name| !has(name));
    let half = [("first_half", "second_half"), ("second_half", "first_half")];
    let missing =
        missing.or_else(|| half.into_iter().find(|(this, other)| !has(this) && has(other)).map(|pair| pair.0));
    missing.map_or(Ok(()), |name| refuse(name, "this column in the header".to_owned(), "nothing"))
}

struct Fields<'a> {
    builder: &'a EvidenceBuilder,
    header: &'a StringRecord,
    row: &'a StringRecord,
    line: u64,
}

impl Fields<'_> {
    fn record(&self) -> Result<Record, EvidenceError> {
        const NUMBER: &str = "a number";
        let first = self.value::<f64>("first_half", NUMBER)?;
        let second = self.value::<f64>("second_half", NUMBER)?;
        Ok(Record {
            sequence: self.needed("sequence", "a whole number of at least 0")?,
            candidate: self.needed("candidate", "a text")?,
            quality: self.needed("quality", NUMBER)?,
            cost: self.needed("cost", NUMBER)?,
            halves: first.zip(second).map(Into::into),
            label_free: self.value("label_free", NUMBER)?,
        })
    }

    fn needed<T: FromStr>(&self, column: &str, expected: &str) -> Result<T, EvidenceError> {
        self.value(column, expected)?.ok_or_else(|| self.wrong(column, expected, "nothing"))
    }

    /// `None` where the file has no such column.
    fn value<T: FromStr>(&self, column: &str, expected: &str) -> Result<Option<T>, EvidenceError> {
        let at = self.header.iter().position(|name| name == column);
        let Some(text) = at.and_then(|at| self.row.get(at)) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(column, expected, &format!("{text:?}")))
    }

    fn wrong(&self, column: &str, expected: &str, found: &str) -> EvidenceError {
        let (column, expected, found) = (column.to_owned(), expected.to_owned(), found.to_owned());
        EvidenceError::Value { place: self.builder.line(self.line), column, expected, found }
    }
}

fn failed(file: &Path, builder: &EvidenceBuilder, error: csv::Error) -> EvidenceError {
    let line = error.position().map_or(1, csv::Position::line);
    let syntax = |found| EvidenceError::Syntax { place: builder.line(line), expected: "comma-separated values", found };
    match error.into_kind() {
        csv::ErrorKind::Io(source) => EvidenceError::Io { file: file.to_owned(), action: "reading", source },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            syntax(format!("{len} values under {expected_len} columns"))
        }
        csv::ErrorKind::Utf8 { err, .. } => syntax(format!("text that is not UTF-8 ({err})")),
        other => syntax(format!("{other:?}")),
    }
}
