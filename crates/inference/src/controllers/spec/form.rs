//! The text form of specifications, which is converted from and to their JSON form.

use super::super::ControllerSpec;
use super::SpecError;
use serde_json::{Map, Value};
use std::fmt;

/// The largest number of nested controllers: enough for any use, and so small that no text can exhaust the stack.
const MAX_DEPTH: usize = 16;

/// The text form of one controller: its name and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecForm {
    /// The form, such as `random:LAYERS[,ends=free]`; parts in brackets may be left out.
    pub syntax: &'static str,
    /// The layers that run, in the words of the syntax.
    pub about: &'static str,
    pub(crate) fields: Fields,
}

/// The fields of the JSON form, by their places in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fields {
    /// No fields: the text is the name alone.
    None,
    /// A list of numbers, separated by commas.
    List(&'static str),
    /// The field `file`: all of the text after the name, as file names may hold colons, commas and spaces.
    File,
    /// A field with a value, then after a colon the field `inner`, another controller.
    Around(&'static str),
    /// Fields whose values are separated by two dots, then options `key=value`, as pairs of a key and its field.
    Values(&'static [&'static str], &'static [(&'static str, &'static str)]),
}

impl SpecForm {
    /// The controller's name, which begins the text.
    pub fn name(&self) -> &'static str {
        self.syntax.split(':').next().unwrap_or(self.syntax)
    }
}

impl fmt::Display for SpecForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.syntax, self.about)
    }
}

/// Reads a specification.
pub(crate) fn read(text: &str) -> Result<ControllerSpec, SpecError> {
    read_inside(text, MAX_DEPTH)
}

/// Reads a specification of at most `depth` nested controllers, the outermost included.
fn read_inside(text: &str, depth: usize) -> Result<ControllerSpec, SpecError> {
    let depth = depth.checked_sub(1).ok_or(SpecError::TooDeep { limit: MAX_DEPTH })?;
    let (name, after_name) = match text.split_once(':') {
        Some((name, after)) => (name.trim(), Some(after)),
        None => (text.trim(), None),
    };
    let form = ControllerSpec::all().iter().find(|form| form.name() == name);
    let form = form.ok_or_else(|| SpecError::Unknown { found: name.to_owned() })?;
    let wrong = |found: &str| SpecError::Form { expected: form.syntax, found: found.trim().to_owned() };
    let mut object = Map::from_iter([("controller".to_owned(), name.into())]);
    let mut insert = |field: &str, value: Value| object.insert(field.to_owned(), value);
    match (form.fields, after_name) {
        (Fields::None, None) => {}
        (Fields::List(field), Some(list)) => {
            let values = list.split(',').filter(|_| !list.trim().is_empty()).map(value);
            insert(field, values.collect());
        }
        (Fields::File, Some(file)) if !file.trim().is_empty() => {
            insert("file", file.into());
        }
        (Fields::Around(field), Some(both)) => {
            let (first, inner) = both.split_once(':').ok_or_else(|| wrong(text))?;
            insert(field, value(first));
            insert("inner", serde_json::to_value(read_inside(inner, depth)?).map_err(|_| wrong(text))?);
        }
        (Fields::Values(fields, options), Some(parts)) => {
            let mut parts = parts.split(',');
            let values: Vec<&str> = parts.next().unwrap_or_default().split("..").collect();
            if values.len() != fields.len() {
                return Err(wrong(text));
            }
            fields.iter().zip(values).for_each(|(field, text)| drop(insert(field, value(text))));
            for option in parts {
                let known = option.split_once('=').and_then(|(key, text)| {
                    let (_, field) = options.iter().find(|(known, _)| *known == key.trim())?;
                    Some((field, value(text)))
                });
                let (field, value) = known.ok_or_else(|| wrong(option))?;
                if insert(field, value).is_some() {
                    return Err(wrong(option));
                }
            }
        }
        _ => return Err(wrong(text)),
    }
    serde_json::from_value(Value::Object(object)).map_err(|_| wrong(text))
}

/// The JSON value of a text: a number if the text is one, otherwise a string.
fn value(text: &str) -> Value {
    let text = text.trim();
    text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<f32>().map(Value::from)).unwrap_or(text.into())
}

/// Writes a specification as the text that [`read`] reads, without the options that have their defaults; `None` if it
/// has no JSON form.
pub(crate) fn write(spec: &ControllerSpec) -> Option<String> {
    let object = serde_json::to_value(spec).ok()?;
    let object = object.as_object()?;
    let name = object.get("controller")?.as_str()?;
    let form = ControllerSpec::all().iter().find(|form| form.name() == name)?;
    let field = |field: &str| object.get(field).map(text).unwrap_or_default();
    let is_default = |field: &str| {
        let mut without = object.clone();
        without.remove(field);
        serde_json::from_value::<ControllerSpec>(Value::Object(without)).is_ok_and(|without| without == *spec)
    };
    Some(match form.fields {
        Fields::None => name.to_owned(),
        Fields::List(list) => {
            let values: Vec<String> = object.get(list)?.as_array()?.iter().map(text).collect();
            format!("{name}:{}", values.join(","))
        }
        Fields::File => format!("{name}:{}", field("file")),
        Fields::Around(first) => {
            let inner: ControllerSpec = serde_json::from_value(object.get("inner")?.clone()).ok()?;
            format!("{name}:{}:{inner}", field(first))
        }
        Fields::Values(fields, options) => {
            let values: Vec<String> = fields.iter().map(|name| field(name)).collect();
            let options = options.iter().filter(|(_, field)| !is_default(field));
            let options = options.map(|(key, name)| format!("{key}={}", field(name)));
            let parts: Vec<String> = std::iter::once(values.join("..")).chain(options).collect();
            format!("{name}:{}", parts.join(","))
        }
    })
}

/// The text of a JSON value. Numbers with a fraction are `f32` in every controller.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        #[expect(clippy::cast_possible_truncation, reason = "made from an f32")]
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or(String::new(), |number| (number as f32).to_string())
        }
        other => other.to_string(),
    }
}
