//! The template filter `tojson`, which writes JSON like Python's `json.dumps(x, ensure_ascii=False)`.
//!
//! The template engine's built-in filter escapes for HTML and writes no spaces, unlike the text that models were
//! trained on.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

const MAX_DEPTH: usize = 64;

/// Writes a value as JSON, with the arguments that the filter has in transformers.
// The engine passes arguments by value.
#[expect(clippy::needless_pass_by_value)]
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: Value,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<String, Error> {
    let indent = match indent {
        Some(width) => Some(width),
        None => options.get::<Option<usize>>("indent")?,
    };
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    options.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("separators must be two strings")),
        // Python's defaults: lines do not end in a space.
        None => ((if indent.is_some() { "," } else { ", " }).to_owned(), ": ".to_owned()),
    };
    if indent.is_some_and(|width| width > 16) {
        return Err(invalid("indent must be at most 16"));
    }
    let mut writer = Writer { state, indent, ascii, sort, item, key, out: String::new() };
    writer.value(&value, 0)?;
    Ok(writer.out)
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {message}"))
}

struct Writer<'a, 'vm, 'env> {
    state: &'a State<'vm, 'env>,
    indent: Option<usize>,
    ascii: bool,
    sort: bool,
    item: String,
    key: String,
    out: String,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("nested too deeply"));
        }
        // Fuel is consumed whenever the value is written, since a container may hold the same value many times.
        self.pay(value.as_str().map_or(1, str::len))?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Map => self.map(value, depth)?,
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut empty = true;
                for item in value.try_iter()? {
                    self.separate(&mut empty, depth);
                    self.value(&item, depth + 1)?;
                }
                self.close(empty, depth, ']');
            }
            _ => return Err(invalid("the value cannot be written as JSON")),
        }
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        self.pay(keys.len() * 64)?;
        if self.sort {
            keys.sort();
        }
        self.out.push('{');
        let mut empty = true;
        for key in keys {
            self.separate(&mut empty, depth);
            let text = key.to_string();
            self.pay(text.len())?;
            self.string(&text)?;
            self.out.push_str(&self.key.clone());
            self.value(&value.get_item(&key)?, depth + 1)?;
        }
        self.close(empty, depth, '}');
        Ok(())
    }

    fn number(&mut self, value: &Value) {
        let text = value.to_string();
        self.out.push_str(match text.as_str() {
            "NaN" | "nan" => "NaN",
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            text => text,
        });
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        let quoted = serde_json::to_string(text).map_err(|_| invalid("the text cannot be written as JSON"))?;
        if !self.ascii {
            self.out.push_str(&quoted);
            return Ok(());
        }
        for c in quoted.chars() {
            if c.is_ascii() {
                self.out.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(self.out, "\\u{unit:04x}");
                }
            }
        }
        Ok(())
    }

    fn separate(&mut self, empty: &mut bool, depth: usize) {
        if !std::mem::replace(empty, false) {
            self.out.push_str(&self.item.clone());
        }
        self.line(depth + 1);
    }

    fn close(&mut self, empty: bool, depth: usize, bracket: char) {
        if !empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(width) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    /// Consumes the engine's fuel for work on `bytes` bytes, so that a template cannot run without end.
    fn pay(&self, bytes: usize) -> Result<(), Error> {
        self.state.consume_fuel((bytes / 16 + 1) as u64)
    }
}
