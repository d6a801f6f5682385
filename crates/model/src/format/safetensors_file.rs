//! Reads safetensors files, as specified in the safetensors README, section "Format".

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::data_reader::{DataReader, length, open_regular};
use super::error::{FormatError, FormatErrorKind};
use super::header_reader::{HeaderReader, LFS_POINTER};
use super::safetensors_dtype::SafetensorsDtype;
use super::safetensors_header::{self, Header};
use super::tensor_info::TensorInfo;
use crate::files::Input;

/// The longest accepted header, in bytes; the same limit as in the safetensors library.
pub(super) const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file: its header, and its tensors, whose data are read on demand.
///
/// The file may contain tensors of any element type, but only those of `F32`,
/// `F16` and `BF16` can be read.
#[derive(Debug)]
pub struct SafetensorsFile {
    data: DataReader,
    header: Header,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// If the path is not a regular file or cannot be read; if the header is cut
    /// short, too long or not valid JSON; if a tensor has a number of bytes that does
    /// not fit its shape; if the tensors overlap or leave bytes of the file unused; or
    /// if the file is cut off. The error names the field or the tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let path = path.as_ref();
        Self::from_input(open_regular(path)?, path.to_path_buf())
    }

    /// Reads the header from any reader that can seek. The file begins at the first
    /// byte of the reader. `label` stands for the path in errors.
    ///
    /// # Errors
    ///
    /// The same as [`open`](SafetensorsFile::open).
    pub fn from_reader(
        reader: impl Read + Seek + Send + 'static,
        label: impl Into<PathBuf>,
    ) -> Result<Self, FormatError> {
        Self::from_input(Box::new(reader), label.into())
    }

    pub(crate) fn from_input(mut input: Box<dyn Input>, path: PathBuf) -> Result<Self, FormatError> {
        match read_header(&mut input) {
            Ok(header) => Ok(Self { data: DataReader::new(path, input), header }),
            Err(kind) => Err(kind.at(path)),
        }
    }

    /// The path of the file, or the label that [`from_reader`](Self::from_reader) was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// The free-form text entries of the header (`__metadata__`).
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Iterates over the names and descriptions of all tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo<SafetensorsDtype>)> {
        self.header.tensors.iter().map(|(name, info)| (name.as_str(), info))
    }

    /// Returns the description of a tensor, or `None` if the file has no such tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo<SafetensorsDtype>> {
        self.header.tensors.get(name)
    }

    /// Returns the description of a tensor.
    ///
    /// # Errors
    ///
    /// [`FormatErrorKind::NoSuchTensor`] when the file has no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo<SafetensorsDtype>, FormatError> {
        self.get(name).ok_or_else(|| FormatErrorKind::NoSuchTensor { tensor: name.to_owned() }.at(self.path()))
    }

    /// Reads the bytes of a tensor, little-endian and row-major, as in the file.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, if its type is not `F32`, `F16` or `BF16`, if
    /// there is no memory for it, or if reading fails.
    pub fn read_tensor_bytes(&self, name: &str) -> Result<Vec<u8>, FormatError> {
        let info = self.readable(name)?;
        self.read(name, info, &(0..info.bytes))
    }

    /// Reads the bytes of a range of rows. A row extends along the last dimension
    /// of the shape; all other dimensions are flattened ([`TensorInfo::rows`]).
    ///
    /// # Errors
    ///
    /// The same as [`read_tensor_bytes`](Self::read_tensor_bytes), and if the tensor
    /// does not have these rows.
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<u8>, FormatError> {
        let info = self.readable(name)?;
        let range = info.row_range(name, &rows).map_err(|kind| kind.at(self.path()))?;
        self.read(name, info, &range)
    }

    fn readable(&self, name: &str) -> Result<&TensorInfo<SafetensorsDtype>, FormatError> {
        let info = self.tensor(name)?;
        if info.dtype.float().is_some() {
            Ok(info)
        } else {
            let (tensor, dtype) = (name.to_owned(), info.dtype.name().to_owned());
            Err(FormatErrorKind::UnsupportedDtype { tensor, dtype }.at(self.path()))
        }
    }

    fn read<T>(&self, tensor: &str, info: &TensorInfo<T>, range: &Range<u64>) -> Result<Vec<u8>, FormatError> {
        self.data.read_range(tensor, info, range).map_err(|kind| kind.at(self.path()))
    }
}

fn read_header(input: &mut Box<dyn Input>) -> Result<Header, FormatErrorKind> {
    let file_length = length(input)?;
    let mut start = HeaderReader::new(input, file_length);
    let header_length = start.u64("the header length")?;
    if header_length == u64::from_le_bytes(LFS_POINTER) {
        return Err(FormatErrorKind::LfsPointer);
    }
    start.require("the header", header_length, 1)?;
    if header_length > MAX_HEADER {
        return Err(FormatErrorKind::HeaderTooLarge { found: header_length, limit: MAX_HEADER });
    }
    let json = start.bytes("the header", header_length)?;
    safetensors_header::parse(&json, start.position(), start.left())
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::File;
    use std::io::Cursor;

    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    pub(in crate::format) fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Returns a file with `F32` tensors, written by the safetensors library.
    pub(in crate::format) fn file_of(tensors: &[(&str, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (*name, view)
        });
        safetensors::serialize(views, None).unwrap()
    }

    /// Returns a file with the header `header`, followed by `data` zero bytes.
    fn file_with(header: &str, data: usize) -> Vec<u8> {
        let length = u64::try_from(header.len()).unwrap();
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<SafetensorsFile, FormatError> {
        SafetensorsFile::from_reader(Cursor::new(bytes), "test.safetensors")
    }

    fn open_header(header: &str, data: usize) -> FormatError {
        open(file_with(header, data)).unwrap_err()
    }

    #[test]
    fn what_the_library_writes_is_read_back() {
        let (a, b) = (f32_bytes(&[1.0, 2.0, 3.0, 4.0]), f32_bytes(&[5.0]));
        let bytes = file_of(&[("a", vec![2, 2], a.clone()), ("b", vec![], b.clone()), ("empty", vec![0, 3], vec![])]);
        let file = open(bytes).unwrap();
        assert_eq!(file.tensors().count(), 3);
        assert_eq!(file.read_tensor_bytes("a").unwrap(), a);
        assert_eq!(file.read_rows("a", 1..2).unwrap(), a[8..]);
        assert_eq!(file.read_tensor_bytes("b").unwrap(), b);
        assert!(file.read_tensor_bytes("empty").unwrap().is_empty());
        assert_eq!(file.tensor("a").unwrap().row_bytes(), 8);
        assert_eq!(file.tensor("b").unwrap().rows(), 1);
        assert_eq!(file.tensor("empty").unwrap().rows(), 0);
        for (start, end) in [(0, 3), (2, 1), (3, 3), (usize::MAX, usize::MAX)] {
            let error = file.read_rows("a", start..end).unwrap_err();
            assert!(matches!(error.kind(), FormatErrorKind::PartOutOfRange { .. }), "{error}");
        }
    }

    #[test]
    fn metadata_are_text_and_other_dtypes_are_refused_when_read() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},
            "f":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]}}  "#;
        let file = open(file_with(header, 12)).unwrap();
        assert_eq!(file.metadata()["format"], "pt");
        assert_eq!(file.read_tensor_bytes("f").unwrap().len(), 4);
        let text = file.read_tensor_bytes("i").unwrap_err().to_string();
        assert!(text.contains("I64") && text.contains("F32, F16, BF16"), "{text}");
    }

    #[test]
    fn declared_lengths_are_checked_before_they_are_believed() {
        let mut bytes = file_with("{}", 0);
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            open(bytes).unwrap_err().kind(),
            FormatErrorKind::Truncated { needed: u64::MAX, available: 2, .. }
        ));
        assert!(matches!(
            open(vec![1, 0, 0]).unwrap_err().kind(),
            FormatErrorKind::Truncated { needed: 8, available: 3, .. }
        ));
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused_before_it_is_read() {
        // A sparse file whose header is one byte longer than the limit.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.safetensors");
        std::fs::write(&path, (MAX_HEADER + 1).to_le_bytes()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(MAX_HEADER + 100).unwrap();
        assert!(matches!(SafetensorsFile::open(&path).unwrap_err().kind(), FormatErrorKind::HeaderTooLarge { .. }));
    }

    #[test]
    fn tensors_have_to_fit_the_file_and_their_shape() {
        let one = |shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cases = [
            (one("[4]", "[16,0]"), 16, "16 to 0 of 16"),
            (one("[4]", "[0,18446744073709551615]"), 16, "18446744073709551615 bytes, its shape and type require 16"),
            (one("[3]", "[0,16]"), 16, "16 bytes, its shape and type require 12"),
            (one("[4611686018427387904,2,2]", "[0,16]"), 16, "number of elements"),
            (one("[4611686018427387904]", "[0,16]"), 16, "length in bytes"),
            (one("[3]", "[4,16]"), 16, "begins at 4, expected 0"),
            (one("[3]", "[0,12]"), 16, "end at 12, the file has 16"),
            (one("[-3]", "[0,12]"), 16, "not valid"),
            (one("[3.0]", "[0,12]"), 16, "not valid"),
            (one("[]", "[0]"), 16, "not valid"),
            (one(&format!("[{}1]", "1,".repeat(64)), "[0,4]"), 4, "not valid"),
            ("[".repeat(100_000), 0, "not valid"),
            ("{\"a\":null}".to_owned(), 0, "not valid"),
            (String::new(), 0, "not valid"),
        ];
        for (header, data, expected) in cases {
            let text = open_header(&header, data).to_string();
            assert!(text.contains(expected), "{text}, expected {expected}");
            assert!(text.contains("test.safetensors"), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_says_by_how_much() {
        let bytes = file_of(&[("a", vec![2, 2], f32_bytes(&[1.0; 4])), ("b", vec![1], f32_bytes(&[5.0]))]);
        for missing in 1..=20 {
            let found = bytes.len() - missing;
            let text = open(bytes[..found].to_vec()).unwrap_err().to_string();
            let expected = format!("the file is cut off: {found} of {} bytes; fetch it again", bytes.len());
            assert_eq!(text, format!("test.safetensors: {expected}"));
        }
        let text = open(bytes[..20].to_vec()).unwrap_err().to_string();
        assert!(text.contains("cut off or damaged"), "{text}");
    }

    #[test]
    fn a_pointer_of_git_lfs_is_recognised() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n";
        let error = open(pointer.as_bytes().to_vec()).unwrap_err();
        assert!(matches!(error.kind(), FormatErrorKind::LfsPointer), "{error}");
    }

    #[test]
    fn overlaps_and_duplicates_are_refused() {
        let entry = |range| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{range}}}"#);
        let (first, second) = (entry("[0,4]"), entry("[4,8]"));
        let duplicate = format!(r#"{{"a":{first},"a":{second}}}"#);
        assert!(matches!(open_header(&duplicate, 8).kind(), FormatErrorKind::DuplicateTensor { .. }));
        let overlap = format!(r#"{{"a":{first},"b":{first}}}"#);
        assert!(matches!(open_header(&overlap, 4).kind(), FormatErrorKind::NotContiguous { .. }));
    }
}
