//! The metadata of a GGUF file, by key and type.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use super::error::FormatError;
use super::gguf_value::{GgufArray, GgufValue};
use super::header_reader::HeaderReader;

/// Bytes of the shortest key-value pair: the key's length, the value's type
/// and a value of one byte.
const MIN_PAIR: u64 = 13;

/// Key-value pairs of a GGUF file.
///
/// The typed accessors fail with [`FormatError::MissingKey`],
/// [`FormatError::WrongType`] or [`FormatError::IntegerOutOfRange`]; wrap one
/// in [`optional`](Self::optional) where the key may be absent.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufMetadata {
    path: PathBuf,
    values: BTreeMap<String, GgufValue>,
}

impl GgufMetadata {
    /// Reads `count` pairs (`gguf_metadata_kv_t`).
    pub(super) fn read<R: Read>(reader: &mut HeaderReader<R>, count: u64) -> Result<Self, FormatError> {
        reader.require("the metadata", count, MIN_PAIR)?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = reader.string("a metadata key")?;
            let value = GgufValue::read(reader, &key)?;
            if values.contains_key(&key) {
                return Err(FormatError::DuplicateKey { path: reader.path_buf(), key });
            }
            values.insert(key, value);
        }
        Ok(Self { path: reader.path_buf(), values })
    }

    /// All pairs, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key, if it is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.values.get(key)
    }

    /// Turns the error for an absent key into `None`.
    ///
    /// # Errors
    ///
    /// Every other error of `result`.
    pub fn optional<T>(result: Result<T, FormatError>) -> Result<Option<T>, FormatError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(FormatError::MissingKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An integer of any width that is not negative.
    ///
    /// # Errors
    ///
    /// The key is absent, holds no integer, or holds a negative one.
    pub fn get_u64(&self, key: &str) -> Result<u64, FormatError> {
        self.integer(key, "u64")
    }

    /// An integer of any width that fits `usize`.
    ///
    /// # Errors
    ///
    /// The key is absent, holds no integer, or one that does not fit.
    pub fn get_usize(&self, key: &str) -> Result<usize, FormatError> {
        self.integer(key, "usize")
    }

    /// An integer of any width that fits `u32`, such as a token id.
    ///
    /// # Errors
    ///
    /// The key is absent, holds no integer, or one that does not fit.
    pub fn get_u32(&self, key: &str) -> Result<u32, FormatError> {
        self.integer(key, "u32")
    }

    /// A value of type `FLOAT32`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_f32(&self, key: &str) -> Result<f32, FormatError> {
        match self.required(key)? {
            GgufValue::F32(value) => Ok(*value),
            other => Err(self.wrong_type(key, "f32", other)),
        }
    }

    /// A value of type `BOOL`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_bool(&self, key: &str) -> Result<bool, FormatError> {
        match self.required(key)? {
            GgufValue::Bool(value) => Ok(*value),
            other => Err(self.wrong_type(key, "bool", other)),
        }
    }

    /// A value of type `STRING`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_str(&self, key: &str) -> Result<&str, FormatError> {
        match self.required(key)? {
            GgufValue::String(value) => Ok(value),
            other => Err(self.wrong_type(key, "string", other)),
        }
    }

    /// An array of strings, such as `tokenizer.ggml.tokens`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_strings(&self, key: &str) -> Result<&[String], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::String(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of string", other)),
        }
    }

    /// An array of `INT32`, such as `tokenizer.ggml.token_type`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_i32s(&self, key: &str) -> Result<&[i32], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::I32(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of i32", other)),
        }
    }

    /// An array of `FLOAT32`, such as `tokenizer.ggml.scores`.
    ///
    /// # Errors
    ///
    /// The key is absent or holds another type.
    pub fn get_f32s(&self, key: &str) -> Result<&[f32], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::F32(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of f32", other)),
        }
    }

    /// An array of integers of any width, each of which fits `usize`; for
    /// keys that converters write with different widths.
    ///
    /// # Errors
    ///
    /// The key is absent, holds another type, or an integer that does not
    /// fit.
    pub fn get_usizes(&self, key: &str) -> Result<Vec<usize>, FormatError> {
        let value = self.required(key)?;
        match value {
            GgufValue::Array(GgufArray::U8(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::I8(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::U16(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::I16(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::U32(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::I32(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::U64(values)) => self.fit_all(key, values),
            GgufValue::Array(GgufArray::I64(values)) => self.fit_all(key, values),
            other => Err(self.wrong_type(key, "array of integers", other)),
        }
    }

    fn required(&self, key: &str) -> Result<&GgufValue, FormatError> {
        self.values.get(key).ok_or_else(|| FormatError::MissingKey { path: self.path.clone(), key: key.to_owned() })
    }

    fn integer<T>(&self, key: &str, expected: &'static str) -> Result<T, FormatError>
    where
        T: TryFrom<i128>,
    {
        let value = self.required(key)?;
        let wide = match value {
            GgufValue::U8(value) => i128::from(*value),
            GgufValue::I8(value) => i128::from(*value),
            GgufValue::U16(value) => i128::from(*value),
            GgufValue::I16(value) => i128::from(*value),
            GgufValue::U32(value) => i128::from(*value),
            GgufValue::I32(value) => i128::from(*value),
            GgufValue::U64(value) => i128::from(*value),
            GgufValue::I64(value) => i128::from(*value),
            other => return Err(self.wrong_type(key, "integer", other)),
        };
        self.fit(key, expected, wide)
    }

    fn fit_all<T>(&self, key: &str, values: &[T]) -> Result<Vec<usize>, FormatError>
    where
        T: Copy + Into<i128>,
    {
        values.iter().map(|value| self.fit(key, "usize", (*value).into())).collect()
    }

    fn fit<T>(&self, key: &str, expected: &'static str, value: i128) -> Result<T, FormatError>
    where
        T: TryFrom<i128>,
    {
        T::try_from(value).map_err(|_| FormatError::IntegerOutOfRange {
            path: self.path.clone(),
            key: key.to_owned(),
            expected,
            found: value.to_string(),
        })
    }

    fn wrong_type(&self, key: &str, expected: &'static str, found: &GgufValue) -> FormatError {
        FormatError::WrongType { path: self.path.clone(), key: key.to_owned(), expected, found: found.type_name() }
    }
}
