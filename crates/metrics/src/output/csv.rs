//! CSV.

use super::OutputError;
use serde::Serialize;
use serde_json::Value;
use std::io::Write;

/// Writes rows as CSV (RFC 4180, lines ending in a line feed): a header of field names, then a line per row.
///
/// Fields of nested structs and lists become columns of their own, their names joined by dots. Fields that are `None`,
/// or a number that is NaN or infinite, are empty. Numbers keep all their digits. All rows need the same columns, so
/// lists must be equally long, and an `Option` of a struct must be there in all rows or in none.
///
/// ```
/// use dynlayer_metrics::output::write_csv;
/// use dynlayer_metrics::text::{Rouge, Score};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Row<'a> {
///     method: &'a str,
///     rouge1: Score,
/// }
///
/// let rouge1 = Rouge::plain().score("a b", "a").rouge1;
/// let mut out = Vec::new();
/// write_csv(&mut out, [Row { method: "skip:3,4", rouge1 }])?;
/// let expected = "method,rouge1.precision,rouge1.recall,rouge1.f1\n\"skip:3,4\",1.0,0.5,0.6666666666666666\n";
/// assert_eq!(String::from_utf8(out)?, expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OutputError::NotARecord`] and [`OutputError::Columns`] for rows that do not make a table; if a value cannot be
/// serialised, or writing fails. Rows before the one that failed have been written then.
pub fn write_csv<T: Serialize>(mut out: impl Write, rows: impl IntoIterator<Item = T>) -> Result<(), OutputError> {
    let mut expected: Option<Vec<String>> = None;
    for (row, value) in rows.into_iter().enumerate() {
        let value = serde_json::to_value(value)?;
        let Value::Object(_) = value else {
            return Err(OutputError::NotARecord { row, found: kind(&value) });
        };
        let (mut columns, mut cells) = (Vec::new(), Vec::new());
        flatten(String::new(), &value, &mut columns, &mut cells);
        match &expected {
            Some(expected) if *expected != columns => {
                return Err(OutputError::Columns { row, found: columns, expected: expected.clone() });
            }
            Some(_) => {}
            None => {
                write_line(&mut out, &columns)?;
                expected = Some(columns);
            }
        }
        write_line(&mut out, &cells)?;
    }
    Ok(out.flush()?)
}

/// Appends the columns and cells of a value, depth first.
fn flatten(name: String, value: &Value, columns: &mut Vec<String>, cells: &mut Vec<String>) {
    let inner = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| flatten(inner(field), value, columns, cells)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| flatten(inner(&index.to_string()), value, columns, cells));
        }
        Value::Null => {
            columns.push(name);
            cells.push(String::new());
        }
        Value::String(text) => {
            columns.push(name);
            cells.push(text.clone());
        }
        Value::Bool(_) | Value::Number(_) => {
            columns.push(name);
            cells.push(value.to_string());
        }
    }
}

fn write_line(out: &mut impl Write, cells: &[String]) -> std::io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            write!(out, ",")?;
        }
        if cell.contains([',', '"', '\n', '\r']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            write!(out, "{cell}")?;
        }
    }
    writeln!(out)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a record",
    }
}

#[cfg(test)]
mod tests {
    use super::write_csv;
    use crate::output::{OutputError, write_json_lines};
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::{Value, json};

    fn csv(rows: &[Value]) -> Result<String, OutputError> {
        let mut out = Vec::new();
        write_csv(&mut out, rows)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// RFC 4180, read character by character.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\n' if !quoted => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                other => cell.push(other),
            }
        }
        assert!(!quoted && row.is_empty() && cell.is_empty());
        rows
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(cells in prop::collection::vec("[a,\"\n\r ;\u{e9}]{0,8}", 1..6), number: f64) {
            prop_assume!(number.is_finite());
            let fields = cells.iter().enumerate().map(|(i, cell)| (format!("c{i}"), json!(cell)));
            let row = Value::Object(fields.chain([("x".to_owned(), json!(number))]).collect());
            let rows = parse(&csv(&[row]).unwrap());
            prop_assert_eq!(&rows[1][..cells.len()], &cells[..]);
            prop_assert_eq!(rows[1][cells.len()].parse::<f64>().unwrap(), number);
            prop_assert_eq!(rows[0].len(), cells.len() + 1);
        }
    }

    #[test]
    fn columns_keep_the_order_of_fields() {
        #[derive(Serialize)]
        struct Row {
            z: u8,
            a: [f64; 2],
            none: Option<u8>,
            nan: f64,
        }
        let mut out = Vec::new();
        write_csv(&mut out, [Row { z: 1, a: [0.5, 1.0], none: None, nan: f64::NAN }]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "z,a.0,a.1,none,nan\n1,0.5,1.0,,\n");
    }

    #[test]
    fn rows_that_make_no_table_are_refused() {
        assert!(matches!(csv(&[json!(1)]), Err(OutputError::NotARecord { row: 0, .. })));
        let refused = csv(&[json!({"a": 1}), json!({"b": 1})]);
        assert!(matches!(refused, Err(OutputError::Columns { row: 1, .. })));
        assert!(matches!(csv(&[json!({"a": [1]}), json!({"a": [1, 2]})]), Err(OutputError::Columns { .. })));
        assert_eq!(csv(&[]).unwrap(), "");
    }

    #[test]
    fn lines_of_json() {
        let mut out = Vec::new();
        write_json_lines(&mut out, [json!({"b": 1, "a": 2}), json!([])]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"b\":1,\"a\":2}\n[]\n");
    }
}
