//! The metadata of a GGUF file: key-value pairs with typed accessors.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{FormatError, FormatErrorKind};
use super::gguf_value::{GgufArray, GgufValue};
use super::header_reader::HeaderReader;

/// The number of bytes of the shortest key-value pair: the length of an empty key
/// (8 bytes), the type of the value (4 bytes) and a value of one byte.
const MIN_PAIR: u64 = 13;

/// The key-value pairs of a GGUF file.
///
/// The typed accessors fail with [`FormatErrorKind::MissingKey`],
/// [`FormatErrorKind::WrongType`] or [`FormatErrorKind::IntegerOutOfRange`]. Pass their
/// result to [`optional`](Self::optional) if the key may be absent.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufMetadata {
    path: PathBuf,
    values: BTreeMap<String, GgufValue>,
}

impl GgufMetadata {
    /// Reads `count` pairs (`gguf_metadata_kv_t`).
    pub(super) fn read<R: Read>(
        reader: &mut HeaderReader<R>,
        count: u64,
        path: &Path,
    ) -> Result<Self, FormatErrorKind> {
        reader.require("the metadata", count, MIN_PAIR)?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = reader.string("a metadata key")?;
            let value = GgufValue::read(reader, &key)?;
            if values.contains_key(&key) {
                return Err(FormatErrorKind::DuplicateKey { key });
            }
            values.insert(key, value);
        }
        Ok(Self { path: path.to_path_buf(), values })
    }

    /// Iterates over all pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the value of a key, or `None` if the key is absent.
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
            Err(error) if matches!(error.kind(), FormatErrorKind::MissingKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a value of any integer type as `u64`.
    ///
    /// # Errors
    ///
    /// The key is absent, its value is not an integer, or the integer is negative.
    pub fn get_u64(&self, key: &str) -> Result<u64, FormatError> {
        self.integer(key, "u64")
    }

    /// Returns a value of any integer type as `usize`.
    ///
    /// # Errors
    ///
    /// The key is absent, its value is not an integer, or the integer does not fit.
    pub fn get_usize(&self, key: &str) -> Result<usize, FormatError> {
        self.integer(key, "usize")
    }

    /// Returns a value of any integer type as `u32`, such as a token id.
    ///
    /// # Errors
    ///
    /// The key is absent, its value is not an integer, or the integer does not fit.
    pub fn get_u32(&self, key: &str) -> Result<u32, FormatError> {
        self.integer(key, "u32")
    }

    /// Returns a value of type `FLOAT32`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_f32(&self, key: &str) -> Result<f32, FormatError> {
        match self.required(key)? {
            GgufValue::F32(value) => Ok(*value),
            other => Err(self.wrong_type(key, "f32", other)),
        }
    }

    /// Returns a value of type `BOOL`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_bool(&self, key: &str) -> Result<bool, FormatError> {
        match self.required(key)? {
            GgufValue::Bool(value) => Ok(*value),
            other => Err(self.wrong_type(key, "bool", other)),
        }
    }

    /// Returns a value of type `STRING`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_str(&self, key: &str) -> Result<&str, FormatError> {
        match self.required(key)? {
            GgufValue::String(value) => Ok(value),
            other => Err(self.wrong_type(key, "string", other)),
        }
    }

    /// Returns an array of strings, such as `tokenizer.ggml.tokens`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_strings(&self, key: &str) -> Result<&[String], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::String(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of string", other)),
        }
    }

    /// Returns an array of `INT32`, such as `tokenizer.ggml.token_type`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_i32s(&self, key: &str) -> Result<&[i32], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::I32(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of i32", other)),
        }
    }

    /// Returns an array of `FLOAT32`, such as `tokenizer.ggml.scores`.
    ///
    /// # Errors
    ///
    /// The key is absent or its value has another type.
    pub fn get_f32s(&self, key: &str) -> Result<&[f32], FormatError> {
        match self.required(key)? {
            GgufValue::Array(GgufArray::F32(values)) => Ok(values),
            other => Err(self.wrong_type(key, "array of f32", other)),
        }
    }

    fn required(&self, key: &str) -> Result<&GgufValue, FormatError> {
        self.values.get(key).ok_or_else(|| FormatErrorKind::MissingKey { key: key.to_owned() }.at(&self.path))
    }

    fn integer<T: TryFrom<i128>>(&self, key: &str, expected: &'static str) -> Result<T, FormatError> {
        let wide = match self.required(key)? {
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
        T::try_from(wide).map_err(|_| {
            let (key, found) = (key.to_owned(), wide.to_string());
            FormatErrorKind::IntegerOutOfRange { key, expected, found }.at(&self.path)
        })
    }

    fn wrong_type(&self, key: &str, expected: &'static str, found: &GgufValue) -> FormatError {
        FormatErrorKind::WrongType { key: key.to_owned(), expected, found: found.type_name() }.at(&self.path)
    }
}
