//! Tensor descriptions of a GGUF file (`gguf_tensor_info_t` in the GGUF
//! specification, section "File Structure").

use std::collections::BTreeMap;
use std::io::Read;

use super::error::FormatErrorKind;
use super::ggml_type::GgmlType;
use super::header_reader::HeaderReader;
use super::tensor_info::TensorInfo;

/// The largest number of dimensions of a tensor, `GGML_MAX_DIMS` in ggml.
const MAX_DIMENSIONS: u32 = 4;

/// The number of bytes of the shortest description, that of a scalar without a
/// name: name length, number of dimensions, type, offset.
const MIN_DESCRIPTION: u64 = 24;

/// The tensors of a file, by name.
pub(super) type Tensors = BTreeMap<String, TensorInfo<GgmlType>>;

/// Reads `count` descriptions. The offsets in the result are relative to the
/// beginning of the data section, which is known only after the last description.
pub(super) fn read<R: Read>(reader: &mut HeaderReader<R>, count: u64) -> Result<Tensors, FormatErrorKind> {
    reader.require("the tensor descriptions", count, MIN_DESCRIPTION)?;
    let mut tensors = BTreeMap::new();
    for _ in 0..count {
        let name = reader.string("a tensor name")?;
        let info = read_one(reader, &name)?;
        if tensors.contains_key(&name) {
            return Err(FormatErrorKind::DuplicateTensor { tensor: name });
        }
        tensors.insert(name, info);
    }
    Ok(tensors)
}

/// Checks that each tensor is aligned and lies in the data section, which extends
/// from `data_start` to the end of the file at `file_length`, and makes the offsets
/// relative to the beginning of the file.
pub(super) fn place(
    tensors: &mut Tensors,
    alignment: u64,
    data_start: u64,
    file_length: u64,
) -> Result<(), FormatErrorKind> {
    let available = file_length.saturating_sub(data_start);
    // Writers place the tensors one after the other, each padded to the alignment.
    let padded = |bytes: u64| bytes.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    let written = tensors.values().fold(0_u64, |sum, info| sum.saturating_add(padded(info.bytes)));
    for (tensor, info) in tensors {
        if !info.offset.is_multiple_of(alignment) {
            let what = format!("the offset of tensor {tensor}");
            return Err(FormatErrorKind::invalid(what, info.offset, format!("a multiple of {alignment}")));
        }
        let end = info.offset.saturating_add(info.bytes);
        if end > available {
            return Err(if end > written {
                // The whole file would not have these bytes either, so the offset is wrong.
                FormatErrorKind::OutOfBounds { tensor: tensor.clone(), start: info.offset, end, available }
            } else {
                FormatErrorKind::CutOff { found: file_length, expected: data_start.saturating_add(written) }
            });
        }
        // This cannot overflow: a tensor has at least one byte, so `available` is not 0, and the sum is less than
        // `file_length`.
        info.offset = data_start.saturating_add(info.offset);
    }
    Ok(())
}

/// Returns the number of bytes of a tensor's data. Fails if a dimension is 0, if a row is not a whole number of blocks,
/// or if the number overflows.
pub(super) fn data_bytes(tensor: &str, ty: GgmlType, shape: &[usize]) -> Result<u64, FormatErrorKind> {
    let overflow = |what| FormatErrorKind::Overflow { tensor: tensor.to_owned(), what };
    if shape.contains(&0) {
        return Err(FormatErrorKind::invalid(format!("a dimension of tensor {tensor}"), 0, "1 or more"));
    }
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(ty.block_size()) {
        let what = format!("the row length of tensor {tensor} of type {ty}");
        return Err(FormatErrorKind::invalid(what, row, format!("a multiple of {}", ty.block_size())));
    }
    let elements = shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size))
        .ok_or_else(|| overflow("number of elements"))?;
    (elements / ty.block_size())
        .checked_mul(ty.block_bytes())
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| overflow("length in bytes"))
}

fn read_one<R: Read>(reader: &mut HeaderReader<R>, tensor: &str) -> Result<TensorInfo<GgmlType>, FormatErrorKind> {
    let dimensions = reader.u32(tensor)?;
    if dimensions > MAX_DIMENSIONS {
        let what = format!("the number of dimensions of tensor {tensor}");
        return Err(FormatErrorKind::invalid(what, dimensions, format!("at most {MAX_DIMENSIONS}")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = reader.u64(tensor)?;
        shape.push(
            usize::try_from(size)
                .map_err(|_| FormatErrorKind::Overflow { tensor: tensor.to_owned(), what: "dimension" })?,
        );
    }
    // ggml's `ne[0]` is the contiguous dimension.
    shape.reverse();

    let id = reader.u32(tensor)?;
    let dtype = GgmlType::from_id(id).ok_or_else(|| unsupported(tensor, id))?;
    let offset = reader.u64(tensor)?;
    let bytes = data_bytes(tensor, dtype, &shape)?;
    Ok(TensorInfo { shape, dtype, offset, bytes })
}

fn unsupported(tensor: &str, id: u32) -> FormatErrorKind {
    let tensor = tensor.to_owned();
    match GgmlType::unsupported_name(id) {
        Some(name) => FormatErrorKind::UnsupportedGgmlType { tensor, name, id },
        None => FormatErrorKind::UnknownGgmlType { tensor, id },
    }
}
