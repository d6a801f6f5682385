//! Metadata values of a GGUF file (`gguf_metadata_value_t` in the GGUF specification, section "File Structure").

use std::io::Read;

use super::data_reader::reserve;
use super::error::FormatErrorKind;
use super::header_reader::HeaderReader;

/// The deepest accepted nesting of arrays. The specification sets no limit; no known metadata key nests arrays more
/// than twice.
const MAX_NESTING: u32 = 4;

/// The number of the array type in `gguf_metadata_value_type`.
const ARRAY: u32 = 9;

/// The number of bytes of the shortest array: the type of its elements and its length.
const MIN_ARRAY: u64 = 12;

/// A type of metadata values other than arrays.
trait Element: Sized {
    /// The number of bytes of the shortest value.
    const MIN_BYTES: u64;

    fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatErrorKind>;
}

macro_rules! number_elements {
    ($($number:ty)*) => {
        $(impl Element for $number {
            const MIN_BYTES: u64 = size_of::<$number>() as u64;

            fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatErrorKind> {
                Ok(Self::from_le_bytes(reader.array(key)?))
            }
        })*
    };
}

number_elements!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

impl Element for bool {
    const MIN_BYTES: u64 = 1;

    fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatErrorKind> {
        // The specification calls every byte other than 0 and 1 invalid.
        match reader.array(key)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(FormatErrorKind::invalid(key, format!("the boolean {found}"), "0 or 1")),
        }
    }
}

impl Element for String {
    /// The size of the length, which is all that an empty string has.
    const MIN_BYTES: u64 = 8;

    fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatErrorKind> {
        reader.string(key)
    }
}

/// Defines `GgufValue` and `GgufArray` from a table of the types in `gguf_metadata_value_type`. Each row has the number
/// of the type, the name of its variants, the Rust type and the name for messages.
macro_rules! types {
    ($($number:literal $variant:ident $type:ty, $name:literal;)*) => {
        /// One metadata value.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum GgufValue {
            $(#[doc = concat!("A value of type `", $name, "`, number ", $number, " in GGUF.")]
            $variant($type),)*
            /// An array, number 9 in GGUF.
            Array(GgufArray),
        }

        /// An array of metadata values, all of one type.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum GgufArray {
            $(#[doc = concat!("Elements of type `", $name, "`.")]
            $variant(Vec<$type>),)*
            /// Arrays, which may differ in type and length.
            Array(Vec<GgufArray>),
        }

        impl GgufValue {
            /// The type's name, for messages.
            #[must_use]
            pub const fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Array(array) => array.type_name(),
                }
            }

            /// Reads a value: its type number, then the value.
            pub(super) fn read<R: Read>(reader: &mut HeaderReader<R>, key: &str) -> Result<Self, FormatErrorKind> {
                match reader.u32(key)? {
                    $($number => <$type>::read(reader, key).map(Self::$variant),)*
                    ARRAY => GgufArray::read(reader, key, MAX_NESTING).map(Self::Array),
                    found => Err(unknown_type(key, found)),
                }
            }
        }

        impl GgufArray {
            /// The array's type in words, for messages.
            #[must_use]
            pub const fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => concat!("array of ", $name),)*
                    Self::Array(_) => "array of array",
                }
            }

            /// Reads an array: element type, length, elements. `depth` is the number of levels of arrays that are still
            /// allowed, including this one.
            fn read<R: Read>(
                reader: &mut HeaderReader<R>,
                key: &str,
                depth: u32,
            ) -> Result<Self, FormatErrorKind> {
                let Some(inner) = depth.checked_sub(1) else {
                    let expected = format!("at most {MAX_NESTING} levels");
                    return Err(FormatErrorKind::invalid(key, "an array that is nested too deeply", expected));
                };
                match reader.u32(key)? {
                    $($number => elements(reader, key, <$type>::MIN_BYTES, <$type>::read).map(Self::$variant),)*
                    ARRAY => elements(reader, key, MIN_ARRAY, |reader, key| Self::read(reader, key, inner))
                        .map(Self::Array),
                    found => Err(unknown_type(key, found)),
                }
            }
        }
    };
}

types! {
    0 U8 u8, "u8";
    1 I8 i8, "i8";
    2 U16 u16, "u16";
    3 I16 i16, "i16";
    4 U32 u32, "u32";
    5 I32 i32, "i32";
    6 F32 f32, "f32";
    7 Bool bool, "bool";
    8 String String, "string";
    10 U64 u64, "u64";
    11 I64 i64, "i64";
    12 F64 f64, "f64";
}

/// Reads a length, then that many elements of at least `min_bytes` bytes each.
fn elements<R: Read, T>(
    reader: &mut HeaderReader<R>,
    key: &str,
    min_bytes: u64,
    read: impl Fn(&mut HeaderReader<R>, &str) -> Result<T, FormatErrorKind>,
) -> Result<Vec<T>, FormatErrorKind> {
    let count = reader.u64(key)?;
    let length = reader.require(key, count, min_bytes)?;
    let mut values = reserve(length, key)?;
    for _ in 0..length {
        values.push(read(reader, key)?);
    }
    Ok(values)
}

fn unknown_type(key: &str, found: u32) -> FormatErrorKind {
    FormatErrorKind::invalid(key, format!("a value of type {found}"), "one of the types 0 to 12")
}
