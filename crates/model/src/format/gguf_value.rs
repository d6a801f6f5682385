//! Metadata values of a GGUF file (`gguf_metadata_value_t` in the GGUF
//! specification, section "File Structure").

use std::io::Read;

use super::data_reader::reserve;
use super::error::FormatError;
use super::header_reader::HeaderReader;

/// Deepest accepted nesting of arrays. The specification sets no limit; no
/// known metadata key nests arrays more than twice.
const MAX_NESTING: u32 = 4;

/// Bytes of the shortest string: its length.
const MIN_STRING: u64 = 8;

/// Bytes of the shortest array: its type and its length.
const MIN_ARRAY: u64 = 12;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum GgufValue {
    /// `GGUF_METADATA_VALUE_TYPE_UINT8`, number 0.
    U8(u8),
    /// `GGUF_METADATA_VALUE_TYPE_INT8`, number 1.
    I8(i8),
    /// `GGUF_METADATA_VALUE_TYPE_UINT16`, number 2.
    U16(u16),
    /// `GGUF_METADATA_VALUE_TYPE_INT16`, number 3.
    I16(i16),
    /// `GGUF_METADATA_VALUE_TYPE_UINT32`, number 4.
    U32(u32),
    /// `GGUF_METADATA_VALUE_TYPE_INT32`, number 5.
    I32(i32),
    /// `GGUF_METADATA_VALUE_TYPE_FLOAT32`, number 6.
    F32(f32),
    /// `GGUF_METADATA_VALUE_TYPE_BOOL`, number 7.
    Bool(bool),
    /// `GGUF_METADATA_VALUE_TYPE_STRING`, number 8.
    String(String),
    /// `GGUF_METADATA_VALUE_TYPE_ARRAY`, number 9.
    Array(GgufArray),
    /// `GGUF_METADATA_VALUE_TYPE_UINT64`, number 10.
    U64(u64),
    /// `GGUF_METADATA_VALUE_TYPE_INT64`, number 11.
    I64(i64),
    /// `GGUF_METADATA_VALUE_TYPE_FLOAT64`, number 12.
    F64(f64),
}

/// An array of metadata values, all of one type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum GgufArray {
    /// Elements of type `UINT8`.
    U8(Vec<u8>),
    /// Elements of type `INT8`.
    I8(Vec<i8>),
    /// Elements of type `UINT16`.
    U16(Vec<u16>),
    /// Elements of type `INT16`.
    I16(Vec<i16>),
    /// Elements of type `UINT32`.
    U32(Vec<u32>),
    /// Elements of type `INT32`.
    I32(Vec<i32>),
    /// Elements of type `FLOAT32`.
    F32(Vec<f32>),
    /// Elements of type `BOOL`.
    Bool(Vec<bool>),
    /// Elements of type `STRING`.
    String(Vec<String>),
    /// Elements of type `ARRAY`, which may differ in type and length.
    Array(Vec<GgufArray>),
    /// Elements of type `UINT64`.
    U64(Vec<u64>),
    /// Elements of type `INT64`.
    I64(Vec<i64>),
    /// Elements of type `FLOAT64`.
    F64(Vec<f64>),
}

impl GgufValue {
    /// The type's number in `gguf_metadata_value_type`.
    #[must_use]
    pub const fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// The type's name, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::U16(_) => "u16",
            Self::I16(_) => "i16",
            Self::U32(_) => "u32",
            Self::I32(_) => "i32",
            Self::F32(_) => "f32",
            Self::Bool(_) => "bool",
            Self::String(_) => "string",
            Self::Array(array) => array.type_name(),
            Self::U64(_) => "u64",
            Self::I64(_) => "i64",
            Self::F64(_) => "f64",
        }
    }

    /// Reads a value: its type number, then the value.
    pub(super) fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatError> {
        Ok(match reader.u32(key)? {
            0 => Self::U8(u8::from_le_bytes(reader.array(key)?)),
            1 => Self::I8(i8::from_le_bytes(reader.array(key)?)),
            2 => Self::U16(u16::from_le_bytes(reader.array(key)?)),
            3 => Self::I16(i16::from_le_bytes(reader.array(key)?)),
            4 => Self::U32(reader.u32(key)?),
            5 => Self::I32(i32::from_le_bytes(reader.array(key)?)),
            6 => Self::F32(f32::from_le_bytes(reader.array(key)?)),
            7 => {
                let [byte] = reader.array(key)?;
                Self::Bool(boolean(reader, key, byte)?)
            }
            8 => Self::String(reader.string(key)?),
            9 => Self::Array(GgufArray::read(reader, key, MAX_NESTING)?),
            10 => Self::U64(reader.u64(key)?),
            11 => Self::I64(i64::from_le_bytes(reader.array(key)?)),
            12 => Self::F64(f64::from_le_bytes(reader.array(key)?)),
            found => return Err(unknown_type(reader, key, found)),
        })
    }
}

impl GgufArray {
    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
            Self::Array(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type's number in `gguf_metadata_value_type`.
    #[must_use]
    pub const fn element_type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// The array's type, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "array of u8",
            Self::I8(_) => "array of i8",
            Self::U16(_) => "array of u16",
            Self::I16(_) => "array of i16",
            Self::U32(_) => "array of u32",
            Self::I32(_) => "array of i32",
            Self::F32(_) => "array of f32",
            Self::Bool(_) => "array of bool",
            Self::String(_) => "array of string",
            Self::Array(_) => "array of array",
            Self::U64(_) => "array of u64",
            Self::I64(_) => "array of i64",
            Self::F64(_) => "array of f64",
        }
    }

    /// Reads an array: element type, length, elements. `depth` is how many
    /// levels of arrays may still follow, this one included.
    fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str, depth: u32) -> Result<Self, FormatError> {
        let Some(inner_depth) = depth.checked_sub(1) else {
            return Err(FormatError::NestedTooDeep {
                path: reader.path_buf(),
                key: key.to_owned(),
                limit: MAX_NESTING,
            });
        };
        let ty = reader.u32(key)?;
        let count = reader.u64(key)?;
        Ok(match ty {
            0 => Self::U8(reader.bytes(key, count)?),
            1 => Self::I8(numbers(reader, key, count, i8::from_le_bytes)?),
            2 => Self::U16(numbers(reader, key, count, u16::from_le_bytes)?),
            3 => Self::I16(numbers(reader, key, count, i16::from_le_bytes)?),
            4 => Self::U32(numbers(reader, key, count, u32::from_le_bytes)?),
            5 => Self::I32(numbers(reader, key, count, i32::from_le_bytes)?),
            6 => Self::F32(numbers(reader, key, count, f32::from_le_bytes)?),
            7 => {
                let bytes = reader.bytes(key, count)?;
                let values: Result<_, _> = bytes.into_iter().map(|byte| boolean(reader, key, byte)).collect();
                Self::Bool(values?)
            }
            8 => {
                let length = reader.require(key, count, MIN_STRING)?;
                let mut values = reserve(length, reader.path(), key)?;
                for _ in 0..length {
                    values.push(reader.string(key)?);
                }
                Self::String(values)
            }
            9 => {
                let length = reader.require(key, count, MIN_ARRAY)?;
                let mut values = reserve(length, reader.path(), key)?;
                for _ in 0..length {
                    values.push(Self::read(reader, key, inner_depth)?);
                }
                Self::Array(values)
            }
            10 => Self::U64(numbers(reader, key, count, u64::from_le_bytes)?),
            11 => Self::I64(numbers(reader, key, count, i64::from_le_bytes)?),
            12 => Self::F64(numbers(reader, key, count, f64::from_le_bytes)?),
            found => return Err(unknown_type(reader, key, found)),
        })
    }
}

/// Reads `count` numbers of `N` bytes each.
fn numbers<R: Read, T, const N: usize>(
    reader: &mut HeaderReader<R>,
    key: &str,
    count: u64,
    from_le_bytes: fn([u8; N]) -> T,
) -> Result<Vec<T>, FormatError> {
    let size = u64::try_from(N).unwrap_or(u64::MAX);
    let length = reader.require(key, count, size)?;
    // `require` has seen that the product fits the bytes left.
    let bytes = reader.bytes(key, count.saturating_mul(size))?;
    let mut values = reserve(length, reader.path(), key)?;
    let (numbers, _) = bytes.as_chunks::<N>();
    values.extend(numbers.iter().map(|bytes| from_le_bytes(*bytes)));
    Ok(values)
}

/// The specification calls every other byte than 0 and 1 invalid.
fn boolean<R: Read>(reader: &HeaderReader<R>, key: &str, byte: u8) -> Result<bool, FormatError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(FormatError::BadBool { path: reader.path_buf(), key: key.to_owned(), found }),
    }
}

fn unknown_type<R: Read>(reader: &HeaderReader<R>, key: &str, found: u32) -> FormatError {
    FormatError::UnknownValueType { path: reader.path_buf(), key: key.to_owned(), found }
}
