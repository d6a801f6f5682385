//! Tensor descriptions of a GGUF file (`gguf_tensor_info_t` in the GGUF
//! specification, section "File Structure").

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::error::FormatError;
use super::ggml_type::GgmlType;
use super::header_reader::HeaderReader;
use super::tensor_info::TensorInfo;

/// ggml's `GGML_MAX_DIMS`.
const MAX_DIMENSIONS: u32 = 4;

/// Bytes of the shortest description, that of a scalar without a name: name
/// length, number of dimensions, type, offset.
const MIN_DESCRIPTION: u64 = 24;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, TensorInfo<GgmlType>>;

/// Reads `count` descriptions. The offsets in the result are still those of
/// the file, relative to the data section, which is known only afterwards.
pub(super) fn read<R: Read>(reader: &mut HeaderReader<R>, count: u64) -> Result<Tensors, FormatError> {
    reader.require("the tensor descriptions", count, MIN_DESCRIPTION)?;
    let mut tensors = BTreeMap::new();
    for _ in 0..count {
        let name = reader.string("a tensor name")?;
        let info = read_one(reader, &name)?;
        if tensors.contains_key(&name) {
            return Err(FormatError::DuplicateTensor { path: reader.path_buf(), tensor: name });
        }
        tensors.insert(name, info);
    }
    Ok(tensors)
}

/// Checks a tensor's place in a data section that begins at `data_start` and
/// ends with the file at `file_length`, and makes its offset one from the
/// beginning of the file.
pub(super) fn place(
    path: &Path,
    tensor: &str,
    info: &mut TensorInfo<GgmlType>,
    alignment: u64,
    data_start: u64,
    file_length: u64,
) -> Result<(), FormatError> {
    if !info.offset.is_multiple_of(alignment) {
        return Err(FormatError::Misaligned {
            path: path.to_path_buf(),
            tensor: tensor.to_owned(),
            offset: info.offset,
            alignment,
        });
    }
    let available = file_length.saturating_sub(data_start);
    let end = info.offset.saturating_add(info.bytes);
    if end > available {
        return Err(FormatError::OutOfBounds {
            path: path.to_path_buf(),
            tensor: tensor.to_owned(),
            start: info.offset,
            end,
            available,
        });
    }
    // Does not overflow: every tensor has data, and they are inside the file.
    info.offset = data_start.saturating_add(info.offset);
    Ok(())
}

/// Bytes that rows of a type take, after checking that they are whole blocks.
pub(super) fn data_bytes(path: &Path, tensor: &str, ty: GgmlType, shape: &[usize]) -> Result<u64, FormatError> {
    let overflow = |what| FormatError::Overflow { path: path.to_path_buf(), tensor: tensor.to_owned(), what };
    if shape.contains(&0) {
        return Err(FormatError::ZeroDimension { path: path.to_path_buf(), tensor: tensor.to_owned() });
    }
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(ty.block_size()) {
        return Err(FormatError::RowNotWholeBlocks { path: path.to_path_buf(), tensor: tensor.to_owned(), ty, row });
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

fn read_one<R: Read>(reader: &mut HeaderReader<R>, tensor: &str) -> Result<TensorInfo<GgmlType>, FormatError> {
    let dimensions = reader.u32(tensor)?;
    if dimensions > MAX_DIMENSIONS {
        return Err(FormatError::TooManyDimensions {
            path: reader.path_buf(),
            tensor: tensor.to_owned(),
            found: dimensions.into(),
            limit: MAX_DIMENSIONS.into(),
        });
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = reader.u64(tensor)?;
        shape.push(usize::try_from(size).map_err(|_| FormatError::Overflow {
            path: reader.path_buf(),
            tensor: tensor.to_owned(),
            what: "dimension",
        })?);
    }
    // ggml's `ne[0]` is the contiguous dimension.
    shape.reverse();

    let id = reader.u32(tensor)?;
    let dtype = GgmlType::from_id(id).ok_or_else(|| unsupported(reader.path(), tensor, id))?;
    let offset = reader.u64(tensor)?;
    let bytes = data_bytes(reader.path(), tensor, dtype, &shape)?;
    Ok(TensorInfo { shape, dtype, offset, bytes })
}

fn unsupported(path: &Path, tensor: &str, id: u32) -> FormatError {
    let (path, tensor) = (path.to_path_buf(), tensor.to_owned());
    match GgmlType::unsupported_name(id) {
        Some(name) => FormatError::UnsupportedGgmlType { path, tensor, name, id },
        None => FormatError::UnknownGgmlType { path, tensor, id },
    }
}
