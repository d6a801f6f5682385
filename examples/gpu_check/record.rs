//! The results of a sub-command: printed one by one, and written as a line of JSON.

use super::Arguments;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// The results of a sub-command.
pub struct Record {
    values: Map<String, Value>,
    failures: usize,
}

impl Record {
    pub fn new(arguments: &Arguments, adapter: Option<String>, load_seconds: f64) -> Self {
        let mut record = Self { values: Map::new(), failures: 0 };
        let command = format!("{:?}", arguments.command);
        let name = command.split([' ', '{']).next().unwrap_or_default().to_lowercase();
        record.add("command", json!(name));
        record.add("device", json!(arguments.model.device.to_string()));
        record.add("adapter", json!(adapter));
        record.add("dtype", json!(arguments.dtype.to_string()));
        record.add("load_seconds", json!(load_seconds));
        record
    }

    /// Prints a line. Results go to the file too, so a reader that goes does not stop the measurements.
    pub fn say(line: fmt::Arguments<'_>) {
        let _ = writeln!(io::stdout(), "{line}");
    }

    /// Prints a value and keeps it.
    pub fn add(&mut self, name: &str, value: Value) {
        Self::say(format_args!("{name}: {value}"));
        self.values.insert(name.to_owned(), value);
    }

    /// Prints the result of a check and keeps it.
    pub fn check(&mut self, name: &str, holds: bool, found: Value) {
        Self::say(format_args!("{} {name}: {found}", if holds { "ok  " } else { "FAIL" }));
        self.failures += usize::from(!holds);
        self.values.insert(name.to_owned(), json!({"ok": holds, "found": found}));
    }

    /// Adds the line of JSON to the file, and returns an error if the command or one of its checks has failed.
    pub fn finish(mut self, file: Option<&Path>, result: Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
        if let Err(error) = &result {
            self.values.insert("error".to_owned(), json!(error.to_string()));
        }
        self.values.insert("failures".to_owned(), json!(self.failures));
        if let Some(file) = file {
            let mut file = OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(file, "{}", Value::Object(self.values))?;
        }
        result?;
        if self.failures > 0 { Err(format!("{} checks failed", self.failures).into()) } else { Ok(()) }
    }
}
