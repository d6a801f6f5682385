//! Results as CSV.

use super::OutputError;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;
use std::io::Write;

/// Writes rows as CSV (RFC 4180, lines ending in a line feed): a header of field names, then a line per row.
///
/// Each field of a nested struct or list becomes a column, with names joined by dots. A field that is `None`,
/// NaN or infinite is empty. Numbers keep all their digits. All rows need the same columns, so lists must be equally
/// long, and an `Option` of a struct must be present in all rows or in none.
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
/// [`OutputError::NotARecord`] and [`OutputError::Columns`] for rows that do not make a table, other errors if a value
/// cannot be serialised or writing fails. The rows before the faulty one are written nevertheless.
pub fn write_csv<T: Serialize>(out: impl Write, rows: impl IntoIterator<Item = T>) -> Result<(), OutputError> {
    let mut writer = csv::Writer::from_writer(out);
    let mut expected: Option<Vec<String>> = None;
    for (row, value) in rows.into_iter().enumerate() {
        // Rows are converted through JSON, which names the fields and keeps their order.
        let tree: Tree = serde_json::from_str(&serde_json::to_string(&value)?)?;
        let Tree::Record(_) = tree else {
            return Err(OutputError::NotARecord { row, found: "a list or a single value" });
        };
        let (mut columns, mut cells) = (Vec::new(), Vec::new());
        tree.flatten(String::new(), &mut columns, &mut cells);
        match &expected {
            Some(expected) if *expected != columns => {
                return Err(OutputError::Columns { row, found: columns, expected: expected.clone() });
            }
            Some(_) => {}
            None => {
                writer.write_record(&columns).map_err(std::io::Error::from)?;
                expected = Some(columns);
            }
        }
        writer.write_record(&cells).map_err(std::io::Error::from)?;
    }
    Ok(writer.flush()?)
}

/// A serialised value.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tree {
    List(Vec<Tree>),
    Record(Fields),
    /// A single value.
    Cell(Value),
}

impl Tree {
    /// Appends the columns and cells, depth first.
    fn flatten(self, name: String, columns: &mut Vec<String>, cells: &mut Vec<String>) {
        let inner = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
        match self {
            Self::Record(Fields(fields)) => {
                for (field, value) in fields {
                    value.flatten(inner(&field), columns, cells);
                }
            }
            Self::List(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    item.flatten(inner(&at.to_string()), columns, cells);
                }
            }
            Self::Cell(value) => {
                columns.push(name);
                cells.push(match value {
                    Value::Null => String::new(),
                    Value::String(text) => text,
                    other => other.to_string(),
                });
            }
        }
    }
}

/// The fields of a struct or map, in their order.
struct Fields(Vec<(String, Tree)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fill;
        impl<'de> Visitor<'de> for Fill {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a struct or a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect::<Result<_, _>>().map(Fields)
            }
        }
        deserializer.deserialize_map(Fill)
    }
}

#[cfg(test)]
mod tests {
    use super::write_csv;
    use crate::output::{OutputError, write_json_lines};
    use proptest::prelude::*;
    use serde::Serialize;
    use serde_json::{Value, json};

    fn csv<T: Serialize>(rows: &[T]) -> Result<String, OutputError> {
        let mut out = Vec::new();
        write_csv(&mut out, rows)?;
        Ok(String::from_utf8(out).unwrap())
    }

    proptest! {
        #[test]
        fn written_rows_can_be_read(cells in prop::collection::vec("[a,\"\n\r ;\u{e9}]{0,8}", 1..6), number: f64) {
            prop_assume!(number.is_finite());
            let fields = cells.iter().enumerate().map(|(i, cell)| (format!("c{i}"), json!(cell)));
            let row = Value::Object(fields.chain([("x".to_owned(), json!(number))]).collect());
            let text = csv(&[row]).unwrap();
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            prop_assert_eq!(reader.headers().unwrap().len(), cells.len() + 1);
            let read: Vec<String> = reader.records().next().unwrap().unwrap().iter().map(str::to_owned).collect();
            prop_assert_eq!(&read[..cells.len()], &cells[..]);
            prop_assert_eq!(read[cells.len()].parse::<f64>().unwrap(), number);
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
            most: u64,
            least: i64,
            yes: bool,
            small: f64,
        }
        let row = Row {
            z: 1,
            a: [0.5, 1.0],
            none: None,
            nan: f64::NAN,
            most: u64::MAX,
            least: i64::MIN,
            yes: true,
            small: 5e-324,
        };
        let expected = "z,a.0,a.1,none,nan,most,least,yes,small\n\
                        1,0.5,1.0,,,18446744073709551615,-9223372036854775808,true,5e-324\n";
        assert_eq!(csv(&[row]).unwrap(), expected);
    }

    #[test]
    fn rows_that_make_no_table_are_refused() {
        assert!(matches!(csv(&[json!(1)]), Err(OutputError::NotARecord { row: 0, .. })));
        let refused = csv(&[json!({"a": 1}), json!({"b": 1})]);
        assert!(matches!(refused, Err(OutputError::Columns { row: 1, .. })));
        assert!(matches!(csv(&[json!({"a": [1]}), json!({"a": [1, 2]})]), Err(OutputError::Columns { .. })));
        assert_eq!(csv::<Value>(&[]).unwrap(), "");
    }

    #[test]
    fn lines_of_json() {
        let mut out = Vec::new();
        write_json_lines(&mut out, [json!({"a": 2}), json!([])]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a\":2}\n[]\n");
    }
}
