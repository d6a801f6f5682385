//! What can be wrong with a checkpoint file.

use std::path::PathBuf;

use super::ggml_type::{GgmlType, SUPPORTED};
use super::safetensors_dtype::SUPPORTED_DTYPES;

/// Why a checkpoint could not be opened or read.
///
/// Every variant that concerns a file names it in `path`; files that never
/// touched a disk carry the label their reader was given. Sizes and offsets
/// are bytes unless a field says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused to open, seek or read.
    #[error("{path}: cannot be read")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Memory for data that is present in the file could not be had.
    #[error("{path}: no memory for the {needed} bytes of {what}")]
    OutOfMemory {
        /// The file.
        path: PathBuf,
        /// What was to be held in memory.
        what: String,
        /// How many bytes it takes.
        needed: u64,
    },
    /// The file ends, or its header reaches the header limit, before a field.
    #[error("{path}: {what} needs {needed} bytes, {available} are left")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The field.
        what: String,
        /// Bytes the field needs, at least; `u64::MAX` when beyond counting.
        needed: u64,
        /// Bytes left for it.
        available: u64,
    },
    /// A header is longer than this reader accepts.
    #[error("{path}: a header of {found} bytes, at most {limit} are accepted")]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Declared header length.
        found: u64,
        /// Largest accepted header length.
        limit: u64,
    },
    /// A string is not UTF-8.
    #[error("{path}: {what} is not UTF-8")]
    BadUtf8 {
        /// The file.
        path: PathBuf,
        /// The field that holds the string.
        what: String,
        /// Where the string stops being UTF-8.
        source: std::str::Utf8Error,
    },
    /// A header is not the JSON it should be.
    #[error("{path}: the JSON header is not valid")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the JSON parser found, with line and column.
        source: serde_json::Error,
    },

    /// The file does not begin with the GGUF magic.
    #[error("{path}: not a GGUF file: it begins with {found:02x?}, expected \"GGUF\"")]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// The first bytes, four or as many as the file has.
        found: Vec<u8>,
    },
    /// The GGUF file is big-endian.
    #[error("{path}: a big-endian GGUF file; only little-endian GGUF is supported")]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// The GGUF version is not one this reader knows.
    #[error("{path}: GGUF version {found}; versions 2 and 3 are supported")]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Version in the header.
        found: u32,
    },
    /// A metadata value has a type number that GGUF does not define.
    #[error("{path}: {key} has metadata value type {found}; GGUF defines 0 to 12")]
    UnknownValueType {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
        /// Type number in the file.
        found: u32,
    },
    /// A GGUF boolean is neither 0 nor 1.
    #[error("{path}: {key} holds the boolean {found}; expected 0 or 1")]
    BadBool {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
        /// The byte in the file.
        found: u8,
    },
    /// Metadata arrays are nested too deeply.
    #[error("{path}: {key} nests arrays more than {limit} deep")]
    NestedTooDeep {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
        /// Deepest accepted nesting.
        limit: u32,
    },
    /// A metadata key occurs twice.
    #[error("{path}: the metadata key {key} occurs twice")]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
    },
    /// A metadata key is absent.
    #[error("{path}: the metadata key {key} is missing")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
    },
    /// A metadata value has another type than the one asked for.
    #[error("{path}: the metadata key {key} holds {found}, expected {expected}")]
    WrongType {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
        /// Type asked for.
        expected: &'static str,
        /// Type in the file.
        found: &'static str,
    },
    /// A metadata integer does not fit the type asked for.
    #[error("{path}: the metadata key {key} holds {found}, which is no {expected}")]
    IntegerOutOfRange {
        /// The file.
        path: PathBuf,
        /// Metadata key.
        key: String,
        /// Type asked for.
        expected: &'static str,
        /// Value in the file.
        found: String,
    },
    /// `general.alignment` is not usable.
    #[error("{path}: general.alignment is {found}; expected a power of two, at most {limit}")]
    BadAlignment {
        /// The file.
        path: PathBuf,
        /// Value in the file.
        found: u64,
        /// Largest accepted alignment.
        limit: u64,
    },
    /// A ggml type that exists but that this reader cannot dequantise.
    #[error(
        "{path}: tensor {tensor} has ggml type {name} (number {id}), which is not supported; \
         supported: {}",
        supported_ggml()
    )]
    UnsupportedGgmlType {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// The type's name in ggml.
        name: &'static str,
        /// The type's number in ggml.
        id: u32,
    },
    /// A ggml type number this reader has no name for.
    #[error("{path}: tensor {tensor} has the unknown ggml type number {id}; supported: {}", supported_ggml())]
    UnknownGgmlType {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Type number in the file.
        id: u32,
    },
    /// A row of a tensor is not a whole number of blocks.
    #[error("{path}: tensor {tensor} of type {ty} has rows of {row}, expected a multiple of {}",
        ty.block_size())]
    RowNotWholeBlocks {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Type of the tensor.
        ty: GgmlType,
        /// Elements in a row.
        row: usize,
    },
    /// A tensor's data does not begin on the file's alignment.
    #[error("{path}: tensor {tensor} begins at {offset}, expected a multiple of {alignment}")]
    Misaligned {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Offset within the data section.
        offset: u64,
        /// Alignment of the file.
        alignment: u64,
    },
    /// Quantised bytes and numbers do not correspond.
    #[error("{found} bytes of {ty} for {elements} numbers, expected {} bytes for every {}",
        ty.block_bytes(), ty.block_size())]
    BlockLength {
        /// Type of the bytes.
        ty: GgmlType,
        /// Numbers to be produced.
        elements: usize,
        /// Bytes given.
        found: usize,
    },

    /// A tensor occurs twice.
    #[error("{path}: tensor {tensor} occurs twice")]
    DuplicateTensor {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
    },
    /// A tensor that was asked for is not there.
    #[error("{path}: there is no tensor {tensor}")]
    NoSuchTensor {
        /// The file or folder.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
    },
    /// A tensor has more dimensions than accepted.
    #[error("{path}: tensor {tensor} has {found} dimensions, at most {limit} are accepted")]
    TooManyDimensions {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Number of dimensions in the file.
        found: u64,
        /// Largest accepted number.
        limit: u64,
    },
    /// A tensor has a dimension of size zero.
    #[error("{path}: tensor {tensor} has a dimension of size zero")]
    ZeroDimension {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
    },
    /// A tensor's size or position cannot be represented.
    #[error("{path}: the {what} of tensor {tensor} is too large to count")]
    Overflow {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// The quantity that overflows.
        what: &'static str,
    },
    /// A tensor's data reach beyond the end of the file, or end before they
    /// begin.
    #[error("{path}: tensor {tensor} takes bytes {start} to {end} of {available}")]
    OutOfBounds {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// First byte, from the beginning of the file's data section.
        start: u64,
        /// One past the last byte, from the same origin.
        end: u64,
        /// Length of the data section.
        available: u64,
    },
    /// A part of a tensor was asked for that the tensor does not have.
    #[error("{path}: tensor {tensor} has {available} {unit}, asked for {start} to {end}")]
    PartOutOfRange {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// What is counted, `"rows"` or `"bytes"`.
        unit: &'static str,
        /// First one asked for.
        start: u64,
        /// One past the last one asked for.
        end: u64,
        /// How many there are.
        available: u64,
    },
    /// A tensor's bytes are not as many as its shape and type require.
    #[error("{path}: tensor {tensor} has {found} bytes, its shape and type require {expected}")]
    SizeMismatch {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Bytes that shape and type require.
        expected: u64,
        /// Bytes given.
        found: u64,
    },
    /// Tensors of a safetensors file overlap or leave bytes between them.
    #[error("{path}: tensor {tensor} begins at {found}, expected {expected}: overlap or hole")]
    NotContiguous {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// Where the tensor before it ends, in the data section.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// A safetensors file has bytes after its last tensor.
    #[error("{path}: the tensors end at {expected}, the file has {found} bytes of data")]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Where the last tensor ends, in the data section.
        expected: u64,
        /// Length of the data section.
        found: u64,
    },
    /// A safetensors element type this reader does not read.
    #[error("{path}: tensor {tensor} has dtype {dtype}; supported: {SUPPORTED_DTYPES}")]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// The type's name in the file.
        dtype: String,
    },

    /// A folder holds no weights this reader can read.
    #[error("{path}: found neither {looked_for}{}", unsupported_weights(.unsupported))]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The file names that were tried.
        looked_for: &'static str,
        /// Weight files in formats that are not supported, if any.
        unsupported: Vec<String>,
    },
    /// The index names a shard by something other than a plain file name.
    #[error("{path}: the shard of tensor {tensor} is {found:?}, expected a plain file name")]
    BadShardName {
        /// The index file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// What the index says.
        found: String,
    },
    /// Shards that the index names are not in the folder.
    #[error("{path}: the folder lacks the shards {}", shards.join(", "))]
    MissingShards {
        /// The index file.
        path: PathBuf,
        /// The missing file names.
        shards: Vec<String>,
    },
    /// A shard lacks a tensor that the index places there.
    #[error("{path}: tensor {tensor} should be in {shard}, which lacks it")]
    NotInShard {
        /// The index file.
        path: PathBuf,
        /// Tensor name.
        tensor: String,
        /// File name of the shard.
        shard: String,
    },
    /// A shard holds tensors that the index does not place there.
    #[error("{path}: {shard} holds tensors the index does not place there: {}", tensors.join(", "))]
    NotInIndex {
        /// The index file.
        path: PathBuf,
        /// File name of the shard.
        shard: String,
        /// The tensors.
        tensors: Vec<String>,
    },
}

fn supported_ggml() -> String {
    SUPPORTED.map(GgmlType::name).join(", ")
}

fn unsupported_weights(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!("; {} is there, in a format that is not supported", found.join(", "))
    }
}
