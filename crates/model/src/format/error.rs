//! Errors of checkpoint files.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ggml_type::GgmlType;
use super::safetensors_dtype::SUPPORTED_DTYPES;
use crate::files::{list, shorten};

/// An error in reading or checking a checkpoint file, with the path of the file.
#[derive(Debug)]
pub struct FormatError {
    path: PathBuf,
    kind: Box<FormatErrorKind>,
}

impl FormatError {
    /// The path of the file or folder, or the label that was given to its reader.
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
    // The message of this error includes that of its kind, so the next error in the chain is the source of the kind.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl FormatErrorKind {
    pub(super) fn invalid(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), found: found.to_string(), expected: expected.into() }
    }

    pub(crate) fn at(self, path: impl Into<PathBuf>) -> FormatError {
        FormatError { path: path.into(), kind: Box::new(self) }
    }
}

/// The kinds of errors in reading checkpoint files.
///
/// Sizes and offsets are in bytes unless a field says otherwise. Messages cut long text from a file; the fields hold it
/// whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// Opening, seeking or reading failed.
    #[error("cannot be read")]
    Io(#[from] std::io::Error),
    /// There is not enough memory for data of the file.
    #[error("no memory for the {needed} bytes of {}", shorten(what))]
    OutOfMemory {
        /// A description of the data.
        what: String,
        /// The number of bytes that the data take.
        needed: u64,
    },
    /// A field extends beyond the end of the file, or beyond the longest header that this reader accepts.
    #[error(
        "{} needs {needed} bytes, but only {available} are left; the file is cut off or damaged: fetch it again",
        shorten(what)
    )]
    Truncated {
        /// The field.
        what: String,
        /// The least number of bytes that the field needs; `u64::MAX` if that overflows.
        needed: u64,
        /// The number of bytes that are left for it.
        available: u64,
    },
    /// The file ends before its last tensor does, as an interrupted download leaves it.
    #[error("the file is cut off: {found} of {expected} bytes; fetch it again")]
    CutOff {
        /// The length of the file.
        found: u64,
        /// The length that the header requires; `u64::MAX` if that overflows.
        expected: u64,
    },
    /// The file is a pointer of Git LFS, which a clone without LFS leaves in the place of a large file.
    #[error("a Git LFS pointer in the place of the file; fetch the file itself, for example with `git lfs pull`")]
    LfsPointer,
    /// A header, or the index of the shards, is longer than this reader accepts.
    #[error("the header has {found} bytes; at most {limit} are accepted")]
    HeaderTooLarge {
        /// The length of the header or index.
        found: u64,
        /// The largest accepted length.
        limit: u64,
    },
    /// A string is not UTF-8.
    #[error("{} is not UTF-8", shorten(what))]
    BadUtf8 {
        /// The field that holds the string.
        what: String,
        /// The error of the standard library, with the position of the first invalid byte.
        source: std::str::Utf8Error,
    },
    /// A JSON header, or the index of the shards, cannot be parsed.
    #[error("the JSON header is not valid")]
    Json(#[from] serde_json::Error),

    /// The file does not begin with the GGUF magic.
    #[error("not a GGUF file: it begins with {found:02x?}, expected \"GGUF\"")]
    NotGguf {
        /// The first four bytes, or fewer if the file is shorter.
        found: Vec<u8>,
    },
    /// The GGUF file is big-endian.
    #[error("a big-endian GGUF file; only little-endian GGUF is supported")]
    BigEndian,
    /// A value in the file is not one that this reader accepts.
    #[error("{} is {}; expected {expected}", shorten(what), shorten(found))]
    Invalid {
        /// The field.
        what: String,
        /// Its value.
        found: String,
        /// The accepted values.
        expected: String,
    },
    /// A metadata key occurs twice.
    #[error("the metadata key {} occurs twice", shorten(key))]
    DuplicateKey {
        /// Metadata key.
        key: String,
    },
    /// A metadata key is absent.
    #[error("the metadata key {} is missing", shorten(key))]
    MissingKey {
        /// Metadata key.
        key: String,
    },
    /// A metadata value has a different type than requested.
    #[error("the metadata key {} holds {found}, expected {expected}", shorten(key))]
    WrongType {
        /// Metadata key.
        key: String,
        /// The requested type.
        expected: &'static str,
        /// The type in the file.
        found: &'static str,
    },
    /// A metadata integer does not fit the requested type.
    #[error("the metadata key {} holds {found}, which does not fit {expected}", shorten(key))]
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
        "tensor {} has ggml type {name} (number {id}), which is not supported; take a file of another type; \
         supported: {}",
        shorten(tensor),
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
    #[error("tensor {} has the unknown ggml type number {id}; supported: {}", shorten(tensor), supported_ggml())]
    UnknownGgmlType {
        /// Tensor name.
        tensor: String,
        /// Type number in the file.
        id: u32,
    },
    /// The number of quantised bytes does not fit the number of elements.
    #[error("{found} bytes of {ty} for {elements} numbers; expected {} bytes for every {} numbers",
        ty.block_bytes(), ty.block_size())]
    BlockLength {
        /// The type of the bytes.
        ty: GgmlType,
        /// The number of elements to dequantise.
        elements: usize,
        /// The number of bytes given.
        found: usize,
    },

    /// A tensor occurs twice.
    #[error("tensor {} occurs twice", shorten(tensor))]
    DuplicateTensor {
        /// Tensor name.
        tensor: String,
    },
    /// The requested tensor does not exist.
    #[error("there is no tensor {}", shorten(tensor))]
    NoSuchTensor {
        /// Tensor name.
        tensor: String,
    },
    /// A tensor's size or position cannot be represented.
    #[error("the {what} of tensor {} is too large to represent", shorten(tensor))]
    Overflow {
        /// Tensor name.
        tensor: String,
        /// The quantity that overflows.
        what: &'static str,
    },
    /// A tensor's data lie where the file cannot have data, or end before they begin.
    #[error("tensor {} takes bytes {start} to {end} of {available} bytes of data", shorten(tensor))]
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
    #[error("tensor {} has {available} {unit}; {unit} {start} to {end} were requested", shorten(tensor))]
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
    #[error("tensor {} has {found} bytes, its shape and type require {expected}", shorten(tensor))]
    SizeMismatch {
        /// Tensor name.
        tensor: String,
        /// The number of bytes that shape and type require.
        expected: u64,
        /// The number of bytes in the file.
        found: u64,
    },
    /// Tensors of a safetensors file overlap or leave bytes between them.
    #[error("tensor {} begins at {found}, expected {expected}: overlap or hole", shorten(tensor))]
    NotContiguous {
        /// Tensor name.
        tensor: String,
        /// The end of the preceding tensor, from the beginning of the data section.
        expected: u64,
        /// The beginning of this tensor, from the same origin.
        found: u64,
    },
    /// A safetensors file has bytes after its last tensor.
    #[error("the tensors end at {expected}, the file has {found} bytes of data")]
    TrailingBytes {
        /// The end of the last tensor, from the beginning of the data section.
        expected: u64,
        /// Length of the data section.
        found: u64,
    },
    /// A safetensors tensor has an element type that this reader does not support.
    #[error("tensor {} has dtype {}; supported: {SUPPORTED_DTYPES}", shorten(tensor), shorten(dtype))]
    UnsupportedDtype {
        /// Tensor name.
        tensor: String,
        /// The type's name in the file.
        dtype: String,
    },

    /// The folder holds no weights that this reader can read.
    #[error("found neither {looked_for}{}", unsupported_weights(.unsupported))]
    NoWeights {
        /// The file names that were tried, joined by "nor".
        looked_for: &'static str,
        /// Weight files in formats that are not supported, if any.
        unsupported: Vec<String>,
    },
    /// The name of a shard in the index is not a plain file name.
    #[error("the shard of tensor {} is {:?}, expected a plain file name", shorten(tensor), shorten(found))]
    BadShardName {
        /// Tensor name.
        tensor: String,
        /// The name in the index.
        found: String,
    },
    /// Shards that the index names, or parts of a split GGUF file, are not in the folder.
    #[error("the folder lacks {}; fetch what is missing", list(shards))]
    MissingShards {
        /// The missing file names.
        shards: Vec<String>,
    },
    /// A shard holds tensors that the index does not place there.
    #[error("{} holds tensors the index does not place there: {}", shorten(shard), list(tensors))]
    NotInIndex {
        /// File name of the shard.
        shard: String,
        /// The tensors.
        tensors: Vec<String>,
    },
    /// The file is a part of a split GGUF file, but not the first.
    #[error("part {part} of {count} of a split file; open the first part, {first}, which leads to the others")]
    NotFirstPart {
        /// The part, counted from 1.
        part: u64,
        /// The number of parts.
        count: u64,
        /// The file name of the first part.
        first: String,
    },
    /// A part of a split GGUF file is in memory, where the others cannot be found.
    #[error(
        "part {part} of {count} of a split file, in memory; open the first part from its folder, or merge the parts \
         with llama-gguf-split --merge"
    )]
    PartInMemory {
        /// The part, counted from 1.
        part: u64,
        /// The number of parts.
        count: u64,
    },
}

fn supported_ggml() -> String {
    GgmlType::all().map(GgmlType::name).collect::<Vec<_>>().join(", ")
}

fn unsupported_weights(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!(
            "; found in formats that are not supported: {}; convert them to safetensors, for example with \
             transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)",
            found.join(", ")
        )
    }
}
