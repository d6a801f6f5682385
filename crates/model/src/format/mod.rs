//! Readers for the checkpoint file formats, independent of any tensor library.
//!
//! [`GgufFile`] reads little-endian GGUF files of version 2 and 3, whole or split, and dequantises their tensors.
//! [`SafetensorsFile`] reads one safetensors file, [`SafetensorsFolder`] a folder with `model.safetensors` or
//! `model.safetensors.index.json`.
//!
//! Files are treated as hostile: memory is allocated only for bytes that are known to be in the file, and invalid
//! content gives a [`FormatError`] that names the file and the field. Files are not mapped into memory, because mapped
//! pages count as resident memory. Tensor data are read on demand, a whole tensor or a range of its rows at a time.

mod atomic_file;
mod blocks;
mod convert;
mod data_reader;
mod dequant;
mod dequant_iq4;
mod dequant_k;
mod dequant_legacy;
mod error;
mod ggml_type;
mod gguf;
mod gguf_metadata;
mod gguf_split;
mod gguf_tensor;
mod gguf_value;
mod header_reader;
mod safetensors_dtype;
mod safetensors_file;
mod safetensors_header;
mod shard_index;
mod sharded;
mod tensor_info;
#[cfg(test)]
mod tests;

pub use atomic_file::write_atomic;
#[cfg(test)]
pub(crate) use blocks::factors;
pub(crate) use blocks::{not_finite, quantize_q8_0};
pub use convert::FloatType;
pub(crate) use convert::{f32_to_f16, to_f16, to_f32};
pub(crate) use dequant::dequantize_into;
#[cfg(feature = "flex")]
pub(crate) use dequant::{Layout, WithLayout, dispatch};
pub use error::{FormatError, FormatErrorKind};
pub use ggml_type::GgmlType;
pub use gguf::GgufFile;
pub use gguf_metadata::GgufMetadata;
pub use gguf_value::{GgufArray, GgufValue};
pub use safetensors_dtype::SafetensorsDtype;
pub use safetensors_file::SafetensorsFile;
pub use sharded::SafetensorsFolder;
pub(crate) use sharded::{INDEX, SINGLE};
pub use tensor_info::TensorInfo;
