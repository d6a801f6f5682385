//! Errors of checkpoint files.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ggml_type::GgmlType;
use super::safetensors_dtype::SUPPORTED_DTYPES;

/// An error in reading or checking a checkpoint file, with the path of the file.
#[derive(Debug)]
pub struct FormatError {
    path: PathBuf,
    kind: Box<FormatErrorKind>,
}

impl FormatError {
    /// The file or folder, or the label that its reader was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of error.
    pub fn kind(&self) -> &FormatErrorKind {
        &self.kind
    }

    pub(super) fn into_kind(self) -> FormatErrorKind {
        *self.kind
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl Error for FormatError {
    // The message contains the kind's message, so the next error in the chain is the kind's source.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl FormatErrorKind {
    pub(super) fn invalid(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), found: found.to_string(), expected: expected.into() }
    }

    pub(super) fn at(self, path: impl Into<PathBuf>) -> FormatError {
        FormatError { path: path.into(), kind: Box::new(self) }
    }
}

/// The kinds of errors in reading checkpoint files.
///
/// Sizes and offsets are bytes unless a field says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// The operating system refused to open, seek or read.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// There is not enough memory for data of the file.
    #[error("no memory for the {needed} bytes of {what}")]
    OutOfMemory {
        /// The data.
        what: String,
        /// The bytes that it takes.
        needed: u64,
    },
    /// The file ends, or its header reaches the header limit, before a field.
    #[error("{what} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The field.
        what: String,
        /// The least number of bytes that the field needs; `u64::MAX` if that overflows.
        needed: u64,
        /// Bytes left for it.
        available: u64,
    },
    /// A header, or the index of the shards, is longer than this reader accepts.
    #[error("a header of {found} bytes, at most {limit} are accepted")]
    HeaderTooLarge {
        /// The length of the header or index.
        found: u64,
        /// The largest accepted length.
        limit: u64,
    },
    /// A string is not UTF-8.
    #[error("{what} is not UTF-8")]
    BadUtf8 {
        /// The field that holds the string.
        what: String,
        /// The position at which the string stops being UTF-8.
        source: std::str::Utf8Error,
    },
    /// A JSON header, or the index of the shards, cannot be parsed.
    #[error("the JSON header is not valid")]
    Json(#[from] serde_json::Error),

    /// The file does not begin with the GGUF magic.
    #[error("not a GGUF file: it begins with {found:02x?}, expected \"GGUF\"")]
    NotGguf {
        /// The first bytes, four or as many as the file has.
        found: Vec<u8>,
    },
    /// The GGUF file is big-endian.
    #[error("a big-endian GGUF file; only little-endian GGUF is supported")]
    BigEndian,
    /// A value in the file is not one that this reader accepts.
    #[error("{what} is {found}; expected {expected}")]
    Invalid {
        /// The field.
        what: String,
        /// Its value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// A metadata key occurs twice.
    #[error("the metadata key {key} occurs twice")]
    DuplicateKey {
        /// Metadata key.
        key: String,
    },
    /// A metadata key is absent.
    #[error("the metadata key {key} is missing")]
    MissingKey {
        /// Metadata key.
        key: String,
    },
    /// A metadata value has a different type than requested.
    #[error("the metadata key {key} holds {found}, expected {expected}")]
    WrongType {
        /// Metadata key.
        key: String,
        /// The requested type.
        expected: &'static str,
        /// The type in the file.
        found: &'static str,
    },
    /// A metadata integer does not fit the requested type.
    #[error("the metadata key {key} holds {found}, which is no {expected}")]
    IntegerOutOfRange {
        /// Metadata key.
        key: String,
        /// The requested type.
        expected: &'static str,
        /// The value in the file.
        found: String,
    },
    /// A tensor has a ggml type that this reader cannot dequantise.
    #[error(
        "tensor {tensor} has ggml type {name} (number {id}), which is not supported; \
         supported: {}",
        supported_ggml()
    )]
    UnsupportedGgmlType {
        /// Tensor name.
        tensor: String,
        /// The type's name in ggml.
        name: &'static str,
        /// The type's number in ggml.
        id: u32,
    },
    /// A tensor has a ggml type number that this reader does not know.
    #[error("tensor {tensor} has the unknown ggml type number {id}; supported: {}", supported_ggml())]
    UnknownGgmlType {
        /// Tensor name.
        tensor: String,
        /// Type number in the file.
        id: u32,
    },
    /// The number of quantised bytes does not fit the number of elements.
    #[error("{found} bytes of {ty} for {elements} numbers, expected {} bytes for every {}",
        ty.block_bytes(), ty.block_size())]
    BlockLength {
        /// Type of the bytes.
        ty: GgmlType,
        /// The number of elements to dequantise.
        elements: usize,
        /// Bytes given.
        found: usize,
    },

    /// A tensor occurs twice.
    #[error("tensor {tensor} occurs twice")]
    DuplicateTensor {
        /// Tensor name.
        tensor: String,
    },
    /// The requested tensor does not exist.
    #[error("there is no tensor {tensor}")]
    NoSuchTensor {
        /// Tensor name.
        tensor: String,
    },
    /// A tensor's size or position cannot be represented.
    #[error("the {what} of tensor {tensor} is too large to count")]
    Overflow {
        /// Tensor name.
        tensor: String,
        /// The quantity that overflows.
        what: &'static str,
    },
    /// A tensor's data extend beyond the end of the file, or end before they begin.
    #[error("tensor {tensor} takes bytes {start} to {end} of {available}")]
    OutOfBounds {
        /// Tensor name.
        tensor: String,
        /// First byte, from the beginning of the file's data section.
        start: u64,
        /// One past the last byte, from the same origin.
        end: u64,
        /// Length of the data section.
        available: u64,
    },
    /// The requested part lies beyond the end of the tensor.
    #[error("tensor {tensor} has {available} {unit}, asked for {start} to {end}")]
    PartOutOfRange {
        /// Tensor name.
        tensor: String,
        /// The unit of the range, `"rows"` or `"bytes"`.
        unit: &'static str,
        /// The first row or byte requested.
        start: u64,
        /// One past the last row or byte requested.
        end: u64,
        /// The number of rows or bytes that the tensor has.
        available: u64,
    },
    /// A tensor's size in bytes differs from the size that its shape and type require.
    #[error("tensor {tensor} has {found} bytes, its shape and type require {expected}")]
    SizeMismatch {
        /// Tensor name.
        tensor: String,
        /// Bytes that shape and type require.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// Tensors of a safetensors file overlap or leave bytes between them.
    #[error("tensor {tensor} begins at {found}, expected {expected}: overlap or hole")]
    NotContiguous {
        /// Tensor name.
        tensor: String,
        /// End of the tensor before it, in the data section.
        expected: u64,
        /// Its beginning.
        found: u64,
    },
    /// A safetensors file has bytes after its last tensor.
    #[error("the tensors end at {expected}, the file has {found} bytes of data")]
    TrailingBytes {
        /// End of the last tensor, in the data section.
        expected: u64,
        /// Length of the data section.
        found: u64,
    },
    /// A safetensors tensor has an element type that this reader does not support.
    #[error("tensor {tensor} has dtype {dtype}; supported: {SUPPORTED_DTYPES}")]
    UnsupportedDtype {
        /// Tensor name.
        tensor: String,
        /// The type's name in the file.
        dtype: String,
    },

    /// The folder holds no weights that this reader can read.
    #[error("found neither {looked_for}{}", unsupported_weights(.unsupported))]
    NoWeights {
        /// The file names that were tried.
        looked_for: &'static str,
        /// Weight files in formats that are not supported, if any.
        unsupported: Vec<String>,
    },
    /// The name of a shard in the index is not a plain file name.
    #[error("the shard of tensor {tensor} is {found:?}, expected a plain file name")]
    BadShardName {
        /// Tensor name.
        tensor: String,
        /// The name in the index.
        found: String,
    },
    /// Shards that the index names are not in the folder.
    #[error("the folder lacks the shards {}", shards.join(", "))]
    MissingShards {
        /// The missing file names.
        shards: Vec<String>,
    },
    /// A shard lacks a tensor that the index places there.
    #[error("tensor {tensor} should be in {shard}, which lacks it")]
    NotInShard {
        /// Tensor name.
        tensor: String,
        /// File name of the shard.
        shard: String,
    },
    /// A shard holds tensors that the index does not place there.
    #[error("{shard} holds tensors the index does not place there: {}", tensors.join(", "))]
    NotInIndex {
        /// File name of the shard.
        shard: String,
        /// The tensors.
        tensors: Vec<String>,
    },
}

fn supported_ggml() -> String {
    GgmlType::all().map(GgmlType::name).collect::<Vec<_>>().join(", ")
}

fn unsupported_weights(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!("; {} is there, in a format that is not supported", found.join(", "))
    }
}
