//! The part of a specification's text that follows the name.

use super::super::Ends;
use super::{ControllerSpec, Spec, SpecError, read};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// The text of a specification, from which a controller takes its values one by one.
#[derive(Clone, Debug)]
pub(in crate::controllers) struct Argument<'a> {
    syntax: &'static str,
    /// The specification, its name included.
    text: &'a str,
    /// What follows the name and its colon.
    after_name: Option<&'a str>,
    /// Options that have not been taken yet.
    options: Vec<&'a str>,
    /// How many controllers there may still be inside this one.
    depth: usize,
}

impl<'a> Argument<'a> {
    pub(super) fn new(syntax: &'static str, text: &'a str, depth: usize) -> Self {
        let after_name = text.split_once(':').map(|(_, after)| after);
        Self { syntax, text, after_name, options: Vec::new(), depth }
    }

    /// Reads a specification, all of it.
    pub(super) fn read<S: Spec>(mut self) -> Result<S, SpecError> {
        if self.after_name.is_some() != self.syntax.contains(':') {
            return Err(self.refused());
        }
        let spec = S::read(&mut self)?;
        match self.options.first() {
            Some(option) => Err(self.refused_option(option)),
            None => Ok(spec),
        }
    }

    /// The error for a text that does not have the form.
    fn refused(&self) -> SpecError {
        SpecError::Form { expected: self.syntax, found: self.text.trim().to_owned() }
    }

    fn refused_option(&self, found: &str) -> SpecError {
        SpecError::Form { expected: self.syntax, found: found.trim().to_owned() }
    }

    fn parse<T: Value>(&self, text: &str) -> Result<T, SpecError> {
        text.trim().parse().ok().filter(T::is_valid).ok_or_else(|| self.refused())
    }

    /// The value before the first comma. Options can be taken after it.
    pub(in crate::controllers) fn value<T: Value>(&mut self) -> Result<T, SpecError> {
        let mut parts = self.after_name.unwrap_or_default().split(',');
        let value = self.parse(parts.next().unwrap_or_default())?;
        self.options = parts.collect();
        Ok(value)
    }

    /// The value of the option `key=value`, if it is there. A second option of the same key is left over, and refused at
    /// the end.
    fn take<T: Value>(&mut self, key: &str) -> Result<Option<T>, SpecError> {
        let has_key = |option: &&str| option.split_once('=').is_some_and(|(found, _)| found.trim() == key);
        let Some(at) = self.options.iter().position(has_key) else { return Ok(None) };
        let option = self.options.remove(at);
        let value = option.split_once('=').and_then(|(_, value)| value.trim().parse().ok()).filter(T::is_valid);
        value.map(Some).ok_or_else(|| self.refused_option(option))
    }

    /// The value of the option `key=value`, or else the default.
    pub(in crate::controllers) fn option<T: Value>(&mut self, key: &str, default: T) -> Result<T, SpecError> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// The value of an option that must be there.
    pub(in crate::controllers) fn required<T: Value>(&mut self, key: &str) -> Result<T, SpecError> {
        self.take(key)?.ok_or_else(|| self.refused())
    }

    /// Values between commas; an empty text is an empty list.
    pub(in crate::controllers) fn list<T: Value>(&self) -> Result<Vec<T>, SpecError> {
        let text = self.after_name.unwrap_or_default();
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        text.split(',').map(|value| self.parse(value)).collect()
    }

    /// A file, which is all of the text: file names may hold colons, commas and spaces.
    pub(in crate::controllers) fn file(&self) -> Result<PathBuf, SpecError> {
        let text = self.after_name.filter(|text| !text.trim().is_empty());
        text.map(PathBuf::from).ok_or_else(|| self.refused())
    }

    /// A value and, after a colon, another controller.
    pub(in crate::controllers) fn around<T: Value>(&self) -> Result<(T, Box<ControllerSpec>), SpecError> {
        let text = self.after_name.unwrap_or_default();
        let (value, inner) = text.split_once(':').ok_or_else(|| self.refused())?;
        Ok((self.parse(value)?, Box::new(read(inner, self.depth)?)))
    }
}

/// A value in the text of a specification.
pub(in crate::controllers) trait Value: FromStr + Display + PartialEq {
    /// `nan` and `inf` parse as numbers and are none.
    fn is_valid(&self) -> bool {
        true
    }
}

impl Value for usize {}
impl Value for Ends {}
impl Value for f32 {
    fn is_valid(&self) -> bool {
        self.is_finite()
    }
}

/// Writes an option, or nothing if it has its default.
pub(in crate::controllers) fn option<T: Value>(key: &str, value: T, default: T) -> String {
    if value == default { String::new() } else { format!(",{key}={value}") }
}
