//! Reads GGUF files, as specified in `docs/gguf.md` of the ggml repository.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::data_reader::{DataReader, length, open_regular, reserve};
use super::dequant::dequantize_into;
use super::error::{FormatError, FormatErrorKind};
use super::ggml_type::GgmlType;
use super::gguf_metadata::GgufMetadata;
use super::gguf_split::Split;
use super::gguf_tensor::{self, Tensors};
use super::header_reader::{HeaderReader, LFS_POINTER};
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
/// in that version 3 allows big-endian files, which are refused. A file that is
/// split into parts (`NAME-00001-of-00003.gguf`) is opened by its first part and
/// looks like one file.
#[derive(Debug)]
pub struct GgufFile {
    /// The path of the file, or of the first part.
    path: PathBuf,
    version: u32,
    metadata: GgufMetadata,
    /// The file, or all parts.
    parts: Vec<DataReader>,
    tensors: BTreeMap<String, Placed>,
}

/// A tensor and the position in `parts` of the file that holds it.
#[derive(Debug)]
struct Placed {
    part: usize,
    info: TensorInfo<GgmlType>,
}

impl GgufFile {
    /// Opens a file and reads its header; for the first part of a split file, the headers of all parts, which have to
    /// be in its folder.
    ///
    /// # Errors
    ///
    /// If the path is not a regular file or cannot be read, if the file is not a
    /// GGUF file of a supported version, if its header is cut short or contradicts
    /// itself, if a tensor has an unsupported type or lies outside of the file, or
    /// if it is cut off. The error names the field. For split files also if this is
    /// not the first part, if others are missing, or if they belong to another file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        let mut file = Self::from_input(open_regular(path)?, path.to_path_buf())?;
        if let Some(split) = Split::read(&file.metadata, path)? {
            for (number, path) in split.others(path)? {
                let part = Self::from_input(open_regular(&path)?, path.clone())?;
                let found = Split::read(&part.metadata, &path)?;
                split.check_part(number, found).map_err(|kind| kind.at(&path))?;
                file.add(part).map_err(|kind| kind.at(path))?;
            }
            split.check_tensors(file.tensors.len()).map_err(|kind| kind.at(path))?;
        }
        Ok(file)
    }

    /// Reads the header from any reader that can seek. The file begins at the first
    /// byte of the reader. `label` stands for the path in errors.
    ///
    /// # Errors
    ///
    /// The same as [`open`](GgufFile::open). A part of a split file is refused, as a
    /// reader does not lead to the others.
    pub fn from_reader(
        reader: impl Read + Seek + Send + 'static,
        label: impl Into<PathBuf>,
    ) -> Result<Self, FormatError> {
        let file = Self::from_input(Box::new(reader), label.into())?;
        match Split::read(&file.metadata, &file.path)? {
            Some(split) => Err(split.alone().at(file.path)),
            None => Ok(file),
        }
    }

    /// Reads one file, which may be a part.
    fn from_input(mut input: Box<dyn Input>, path: PathBuf) -> Result<Self, FormatError> {
        let (version, metadata, tensors) = read_header(&mut input, &path).map_err(|kind| kind.at(path.clone()))?;
        let tensors = tensors.into_iter().map(|(name, info)| (name, Placed { part: 0, info })).collect();
        let parts = vec![DataReader::new(path.clone(), input)];
        Ok(Self { path, version, metadata, parts, tensors })
    }

    /// Adds the tensors of another part.
    fn add(&mut self, other: Self) -> Result<(), FormatErrorKind> {
        let part = self.parts.len();
        for (name, Placed { info, .. }) in other.tensors {
            match self.tensors.entry(name) {
                Entry::Vacant(entry) => entry.insert(Placed { part, info }),
                Entry::Occupied(entry) => {
                    return Err(FormatErrorKind::DuplicateTensor { tensor: entry.key().clone() });
                }
            };
        }
        self.parts.extend(other.parts);
        Ok(())
    }

    /// The path of the file or of its first part, or the label that [`from_reader`](Self::from_reader) was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The GGUF version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata; of a split file, those of its first part.
    #[must_use]
    pub fn metadata(&self) -> &GgufMetadata {
        &self.metadata
    }

    /// Iterates over the names and descriptions of all tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo<GgmlType>)> {
        self.tensors.iter().map(|(name, placed)| (name.as_str(), &placed.info))
    }

    /// Returns the description of a tensor, or `None` if the file has no such tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo<GgmlType>> {
        self.tensors.get(name).map(|placed| &placed.info)
    }

    /// Returns the description of a tensor.
    ///
    /// # Errors
    ///
    /// [`FormatErrorKind::NoSuchTensor`] when the file has no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo<GgmlType>, FormatError> {
        self.placed(name).map(|(_, info)| info)
    }

    /// Returns a tensor's description and the part that holds its data.
    fn placed(&self, name: &str) -> Result<(&DataReader, &TensorInfo<GgmlType>), FormatError> {
        self.tensors
            .get(name)
            .and_then(|placed| Some((self.parts.get(placed.part)?, &placed.info)))
            .ok_or_else(|| FormatErrorKind::NoSuchTensor { tensor: name.to_owned() }.at(&self.path))
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
        let (data, info) = self.placed(name)?;
        info.row_range(name, &rows)
            .and_then(|range| data.read_range(name, info, &range))
            .map_err(|kind| kind.at(data.path()))
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
        let (data, info) = self.placed(name)?;
        let at = |kind: FormatErrorKind| kind.at(data.path());
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
    gguf_tensor::place(&mut tensors, alignment, data_start, file_length)?;
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
        start if start.len() == 4 && LFS_POINTER.starts_with(start) => {
            return Err(FormatErrorKind::LfsPointer);
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
