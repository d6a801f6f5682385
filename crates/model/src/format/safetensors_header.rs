//! The JSON header of a safetensors file (the safetensors README, section
//! "Format").
//!
//! The parser of the `safetensors` crate, `SafeTensors::read_metadata`, is not used,
//! because it needs the whole file in memory, refuses a file with any tensor of a
//! type that it does not know, and keeps the last of two tensors with the same
//! name.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::FormatErrorKind;
use super::safetensors_dtype::SafetensorsDtype;
use super::tensor_info::TensorInfo;

/// The largest number of dimensions of a tensor; tensors written by `PyTorch` have at most 64.
const MAX_DIMENSIONS: usize = 64;

/// The key of the free-form text entries.
const METADATA_KEY: &str = "__metadata__";

/// The tensors of a file, by name.
pub(super) type Tensors = BTreeMap<String, TensorInfo<SafetensorsDtype>>;

/// A parsed header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: Tensors,
}

/// Parses a header and checks the place of every tensor in a data section of
/// `data_length` bytes that begins at `data_start` and extends to the end of the file.
pub(super) fn parse(json: &[u8], data_start: u64, data_length: u64) -> Result<Header, FormatErrorKind> {
    let raw: RawHeader = serde_json::from_slice(json)?;
    let mut header = Header { metadata: raw.metadata, tensors: Tensors::new() };
    // A header that is right for a longer file is that of a file that was cut off, so only that is checked last.
    let needed = raw.tensors.iter().map(|(_, raw)| raw.data_offsets.1).max().unwrap_or(0);
    let claimed = needed.max(data_length);
    for (name, raw) in raw.tensors {
        let info = place(&name, raw, data_start, claimed)?;
        if header.tensors.contains_key(&name) {
            return Err(FormatErrorKind::DuplicateTensor { tensor: name });
        }
        header.tensors.insert(name, info);
    }
    check_coverage(&header.tensors, data_start, claimed)?;
    if needed > data_length {
        let end = |length| data_start.saturating_add(length);
        return Err(FormatErrorKind::CutOff { found: end(data_length), expected: end(needed) });
    }
    Ok(header)
}

/// Checks the description of one tensor, and makes its offset relative to the
/// beginning of the file.
fn place(
    tensor: &str,
    raw: RawTensor,
    data_start: u64,
    data_length: u64,
) -> Result<TensorInfo<SafetensorsDtype>, FormatErrorKind> {
    let overflow = |what| FormatErrorKind::Overflow { tensor: tensor.to_owned(), what };
    let (start, end) = raw.data_offsets;
    let (Some(bytes), Some(offset)) = (end.checked_sub(start), data_start.checked_add(start)) else {
        return Err(FormatErrorKind::OutOfBounds { tensor: tensor.to_owned(), start, end, available: data_length });
    };

    let elements = raw
        .shape
        .0
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .ok_or_else(|| overflow("number of elements"))?;
    let dtype = SafetensorsDtype::from_name(&raw.dtype);
    // The size of other types is not known here, and they are never read.
    if let Some(float) = dtype.float() {
        let expected = elements
            .checked_mul(float.bytes())
            .and_then(|bytes| u64::try_from(bytes).ok())
            .ok_or_else(|| overflow("length in bytes"))?;
        if bytes != expected {
            return Err(FormatErrorKind::SizeMismatch { tensor: tensor.to_owned(), expected, found: bytes });
        }
    }
    Ok(TensorInfo { shape: raw.shape.0, dtype, offset, bytes })
}

/// Checks that the tensors follow each other without overlaps or holes and end at
/// the end of the file, as the format requires.
fn check_coverage(tensors: &Tensors, data_start: u64, data_length: u64) -> Result<(), FormatErrorKind> {
    let mut by_place: Vec<_> = tensors.iter().collect();
    by_place.sort_by_key(|(_, info)| (info.offset, info.bytes));
    // The sums below cannot underflow or overflow, because every tensor begins in the data section and ends at the
    // number that the header gives.
    let mut end = 0_u64;
    for (name, info) in by_place {
        let start = info.offset.saturating_sub(data_start);
        if start != end {
            return Err(FormatErrorKind::NotContiguous { tensor: name.clone(), expected: end, found: start });
        }
        end = start.saturating_add(info.bytes);
    }
    if end == data_length { Ok(()) } else { Err(FormatErrorKind::TrailingBytes { expected: end, found: data_length }) }
}

/// An unchecked entry of the header.
#[derive(Debug, Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// A list of at most [`MAX_DIMENSIONS`] dimensions. Without this limit a header could
/// take four times its size in memory: a dimension takes two bytes in JSON, eight in
/// memory.
#[derive(Debug)]
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = seq.next_element()? {
                    if shape.len() == MAX_DIMENSIONS {
                        return Err(serde::de::Error::invalid_length(MAX_DIMENSIONS + 1, &self));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// An unchecked header, with all entries of the JSON text, even if a name occurs twice.
#[derive(Debug, Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, RawTensor)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA_KEY {
                        let metadata: Option<_> = map.next_value()?;
                        header.metadata = metadata.unwrap_or_default();
                    } else {
                        header.tensors.push((key, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}
