//! Evidence as lines of JSON.

use super::{Evidence, EvidenceBuilder, EvidenceError, Record};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

const COLUMNS: [&str; 6] = ["sequence", "candidate", "quality", "cost", "halves", "label_free"];

impl Evidence {
    /// Reads a file of one JSON object per line, each a [`Record`], line by line.
    ///
    /// # Errors
    /// [`EvidenceError`] naming file, line and column, with what was found and what was expected. A last line that is
    /// cut off is an error as any other.
    pub fn read_jsonl(file: impl AsRef<Path>) -> Result<Self, EvidenceError> {
        let file = file.as_ref();
        let io = |action| move |source| EvidenceError::Io { file: file.to_owned(), action, source };
        let mut reader = BufReader::new(std::fs::File::open(file).map_err(io("opening"))?);
        let mut builder = EvidenceBuilder::reading(file);
        let mut bytes = Vec::new();
        for line in 1u64.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).map_err(io("reading"))? == 0 {
                break;
            }
            let record = parse(&builder, line, &bytes)?;
            builder.push_line(line, &record)?;
        }
        builder.finish()
    }

    /// Writes one JSON object per line. The file appears whole or not at all: it is written under another name in the
    /// same folder and then renamed. Numbers come back bit for bit.
    ///
    /// # Errors
    /// [`EvidenceError::Io`].
    pub fn write_jsonl(&self, file: impl AsRef<Path>) -> Result<(), EvidenceError> {
        let file = file.as_ref();
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.write_beside(file, folder).map_err(|source| EvidenceError::Io {
            file: file.to_owned(),
            action: "writing",
            source,
        })
    }

    fn write_beside(&self, file: &Path, folder: &Path) -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".evidence-");
        #[cfg(unix)]
        {
            // As any new file: what the umask leaves. By default the library makes files that only the owner reads.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut writer = BufWriter::new(builder.tempfile_in(folder)?);
        for record in self.records() {
            serde_json::to_writer(&mut writer, &record)?;
            writer.write_all(b"\n")?;
        }
        let temporary = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok(())
    }
}

/// The record on a line. Values are looked at one by one, so that an error can name the column.
fn parse(builder: &EvidenceBuilder, line: u64, bytes: &[u8]) -> Result<Record, EvidenceError> {
    let syntax = |found: String| EvidenceError::Syntax { place: builder.line(line), expected: "a JSON object", found };
    let text = std::str::from_utf8(bytes).map_err(|error| syntax(format!("text that is not UTF-8 ({error})")))?;
    if text.trim().is_empty() {
        return Err(syntax("an empty line".to_owned()));
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| syntax(format!("{:?} ({error})", shorten(text.trim_end()))))?;
    let value = |column: &str, expected: &str, found: String| EvidenceError::Value {
        place: builder.line(line),
        column: column.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    if let Some(unknown) = fields.keys().find(|key| !COLUMNS.contains(&key.as_str())) {
        return Err(value(unknown, &format!("only {}", COLUMNS.join(", ")), shorten(&fields[unknown].to_string())));
    }
    let get =
        |column: &str, expected: &str| fields.get(column).ok_or_else(|| value(column, expected, "nothing".to_owned()));
    let wrong = |column: &str, expected: &str, found: &Value| value(column, expected, shorten(&found.to_string()));
    let number = |column: &str| {
        let found = get(column, "a number")?;
        found.as_f64().ok_or_else(|| wrong(column, "a number", found))
    };
    let sequence = get("sequence", "a whole number of at least 0")?;
    let candidate = get("candidate", "a text")?;
    let halves = match fields.get("halves") {
        None => None,
        Some(found) => {
            let pair = match found.as_array().map(Vec::as_slice) {
                Some([first, second]) => first.as_f64().zip(second.as_f64()).map(Into::into),
                _ => None,
            };
            Some(pair.ok_or_else(|| wrong("halves", "two numbers", found))?)
        }
    };
    let record = Record {
        sequence: sequence.as_u64().ok_or_else(|| wrong("sequence", "a whole number of at least 0", sequence))?,
        candidate: candidate.as_str().ok_or_else(|| wrong("candidate", "a text", candidate))?.to_owned(),
        quality: number("quality")?,
        cost: number("cost")?,
        halves,
        label_free: fields.contains_key("label_free").then(|| number("label_free")).transpose()?,
    };
    // A map keeps the last of two values of one name; the record's own parser refuses them.
    match serde_json::from_str::<Record>(text) {
        Ok(_) => Ok(record),
        Err(error) => Err(syntax(format!("{:?} ({error})", shorten(text.trim_end())))),
    }
}

/// The beginning of a text: enough to find it.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("..".chars()).collect()
    }
}
