//! Readers for the checkpoint file formats, independent of any tensor library.
//!
//! * [`gguf`] reads little-endian GGUF v2 and v3, [`dequant`] turns its
//!   blocks into `f32`, [`gguf_writer`] writes small GGUF files.
//! * [`safetensors_file`] reads one safetensors file, [`sharded`] a folder
//!   with `model.safetensors` or `model.safetensors.index.json`.
//! * [`convert`] turns the bytes of `F32`, `F16` and `BF16` tensors into
//!   numbers.
//!
//! Both readers treat the file as hostile: nothing is allocated because the
//! file says so before the bytes it announces are known to be there, and every
//! defect is a [`FormatError`] that names the file and the field. Neither
//! maps the file into memory, because mapped pages count as resident memory;
//! a tensor is read when it is asked for, whole or in runs of rows.

mod atomic_file;
pub mod convert;
mod data_reader;
pub mod dequant;
mod dequant_k;
mod dequant_legacy;
pub mod error;
pub mod ggml_type;
pub mod gguf;
pub mod gguf_metadata;
mod gguf_tensor;
pub mod gguf_value;
pub mod gguf_writer;
mod header_reader;
#[cfg(test)]
mod hostile_tests;
mod json_map;
pub mod safetensors_dtype;
pub mod safetensors_file;
mod safetensors_header;
mod shard_index;
pub mod sharded;
pub mod tensor_info;

pub use atomic_file::write_atomic;
pub use convert::FloatType;
pub use error::FormatError;
pub use ggml_type::GgmlType;
pub use gguf::GgufFile;
pub use gguf_metadata::GgufMetadata;
pub use gguf_value::{GgufArray, GgufValue};
pub use gguf_writer::GgufWriter;
pub use safetensors_dtype::SafetensorsDtype;
pub use safetensors_file::SafetensorsFile;
pub use sharded::SafetensorsFolder;
pub use tensor_info::TensorInfo;
