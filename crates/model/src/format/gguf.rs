//! Reads GGUF files, as specified in `docs/gguf.md` of the ggml repository.

use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::data_reader::{DataReader, length, open_regular, reserve};
use super::dequant::dequantize_into;
use super::error::{FormatError, FormatErrorKind};
use super::ggml_type::GgmlType;
use super::gguf_metadata::GgufMetadata;
use super::gguf_tensor::{self, Tensors};
use super::header_reader::HeaderReader;
use super::tensor_info::TensorInfo;
use crate::files::Input;

/// The alignment of files without `general.alignment`: `GGUF_DEFAULT_ALIGNMENT`.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;

/// The largest accepted alignment. Files are aligned for SIMD loads or pages; one
/// MiB is beyond both.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// The largest size in bytes of metadata and tensor descriptions together. A
/// vocabulary of a quarter of a million tokens takes about 16 MiB.
const MAX_HEADER: u64 = 128 << 20;

/// The largest number of quantised bytes in memory at once while a tensor is
/// dequantised, unless a single row takes more.
const PIECE: u64 = 4 << 20;

/// An open GGUF file: its metadata and the descriptions of its tensors, whose
/// data are read on demand.
///
/// Little-endian files of version 2 and 3 are supported. The two differ only
/// in that version 3 allows big-endian files, which are refused.
#[derive(Debug)]
pub struct GgufFile {
    data: DataReader,
    version: u32,
    metadata: GgufMetadata,
    tensors: Tensors,
}

impl GgufFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// If the path is not a regular file or cannot be read, if the file is not a
    /// GGUF file of a supported version, if its header is cut short or contradicts
    /// itself, or if a tensor has an unsupported type or lies outside of the file.
    /// The error names the field.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        Self::from_input(open_regular(path)?, path.to_path_buf())
    }

    /// Reads the header from any reader that can seek. The file begins at the first
    /// byte of the reader. `label` stands for the path in errors.
    ///
    /// # Errors
    ///
    /// The same as [`open`](GgufFile::open).
    pub fn from_reader(
        reader: impl Read + Seek + Send + 'static,
        label: impl Into<PathBuf>,
    ) -> Result<Self, FormatError> {
        Self::from_input(Box::new(reader), label.into())
    }

    fn from_input(mut input: Box<dyn Input>, path: PathBuf) -> Result<Self, FormatError> {
        match read_header(&mut input, &path) {
            Ok((version, metadata, tensors)) => {
                Ok(Self { data: DataReader::new(path, input), version, metadata, tensors })
            }
            Err(kind) => Err(kind.at(path)),
        }
    }

    /// The path of the file, or the label that [`from_reader`](Self::from_reader) was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// The GGUF version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &GgufMetadata {
        &self.metadata
    }

    /// Iterates over the names and descriptions of all tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo<GgmlType>)> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// Returns the description of a tensor, or `None` if the file has no such tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo<GgmlType>> {
        self.tensors.get(name)
    }

    /// Returns the description of a tensor.
    ///
    /// # Errors
    ///
    /// [`FormatErrorKind::NoSuchTensor`] when the file has no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo<GgmlType>, FormatError> {
        self.get(name).ok_or_else(|| FormatErrorKind::NoSuchTensor { tensor: name.to_owned() }.at(self.path()))
    }

    /// Reads the bytes of a tensor, in the encoding of the file.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, if there is no memory for it, or if reading fails.
    pub fn read_tensor_bytes(&self, name: &str) -> Result<Vec<u8>, FormatError> {
        let rows = self.tensor(name)?.rows();
        self.read_rows(name, 0..rows)
    }

    /// Reads the bytes of a range of rows. A row extends along the last dimension
    /// of the shape; all other dimensions are flattened ([`TensorInfo::rows`]).
    ///
    /// # Errors
    ///
    /// The same as [`read_tensor_bytes`](Self::read_tensor_bytes), and if the tensor
    /// does not have these rows.
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<u8>, FormatError> {
        let info = self.tensor(name)?;
        info.row_range(name, &rows)
            .and_then(|range| self.data.read_range(name, info, &range))
            .map_err(|kind| kind.at(self.path()))
    }

    /// Reads a tensor as `f32`, row-major. Besides the result, only a small part of
    /// the tensor is in memory at a time.
    ///
    /// # Errors
    ///
    /// The same as [`read_tensor_bytes`](Self::read_tensor_bytes).
    pub fn dequantize_tensor(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let rows = self.tensor(name)?.rows();
        self.dequantize_rows(name, 0..rows)
    }

    /// Reads a range of rows as `f32`, row-major.
    ///
    /// # Errors
    ///
    /// The same as [`read_rows`](Self::read_rows).
    pub fn dequantize_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, FormatError> {
        let info = self.tensor(name)?;
        let at = |kind: FormatErrorKind| kind.at(self.path());
        info.row_range(name, &rows).map_err(at)?;
        let row_len = info.row_len();
        let mut values = reserve(rows.len().saturating_mul(row_len), name).map_err(at)?;

        let rows_per_piece = PIECE.checked_div(info.row_bytes()).unwrap_or(1).max(1);
        let step = usize::try_from(rows_per_piece).unwrap_or(usize::MAX);
        let mut first = rows.start;
        while first < rows.end {
            let last = first.saturating_add(step).min(rows.end);
            let bytes = self.read_rows(name, first..last)?;
            let done = values.len();
            values.resize(done + (last - first) * row_len, 0.0);
            let (_, piece) = values.split_at_mut(done);
            dequantize_into(info.dtype, &bytes, piece).map_err(at)?;
            first = last;
        }
        Ok(values)
    }
}

fn read_header(input: &mut Box<dyn Input>, path: &Path) -> Result<(u32, GgufMetadata, Tensors), FormatErrorKind> {
    let file_length = length(input)?;
    let mut header = HeaderReader::new(input, file_length.min(MAX_HEADER));
    let version = read_version(&mut header)?;
    let tensor_count = header.u64("tensor_count")?;
    let pair_count = header.u64("metadata_kv_count")?;
    let metadata = GgufMetadata::read(&mut header, pair_count, path)?;
    let alignment = read_alignment(&metadata)?;
    let mut tensors = gguf_tensor::read(&mut header, tensor_count)?;
    // This cannot overflow: the position is at most `MAX_HEADER`, the alignment at most `MAX_ALIGNMENT`.
    let data_start = header.position().next_multiple_of(alignment);
    for (name, info) in &mut tensors {
        gguf_tensor::place(name, info, alignment, data_start, file_length)?;
    }
    Ok((version, metadata, tensors))
}

/// Reads the magic and the version, which begin `gguf_header_t`, and returns the version.
fn read_version<R: Read>(header: &mut HeaderReader<R>) -> Result<u32, FormatErrorKind> {
    let magic_length = header.left().min(4);
    let found = header.bytes("the magic", magic_length)?;
    match found.as_slice() {
        b"GGUF" => {}
        b"FUGG" => {
            return Err(FormatErrorKind::BigEndian);
        }
        _ => {
            return Err(FormatErrorKind::NotGguf { found });
        }
    }
    match header.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        // A small version number that was written with the other byte order.
        swapped if swapped > 0xffff && swapped.swap_bytes() <= 0xffff => Err(FormatErrorKind::BigEndian),
        found => Err(FormatErrorKind::invalid("the GGUF version", found, "2 or 3")),
    }
}

/// Returns `general.alignment`, or its default.
fn read_alignment(metadata: &GgufMetadata) -> Result<u64, FormatErrorKind> {
    let found = GgufMetadata::optional(metadata.get_u64("general.alignment")).map_err(FormatError::into_kind)?;
    let alignment = found.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        Ok(alignment)
    } else {
        let expected = format!("a power of two, at most {MAX_ALIGNMENT}");
        Err(FormatErrorKind::invalid("general.alignment", alignment, expected))
    }
}

#[cfg(test)]
mod tests;
