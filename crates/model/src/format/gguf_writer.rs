//! Writes small GGUF files, little-endian, version 3.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::error::FormatError;
use super::ggml_type::GgmlType;
use super::gguf::DEFAULT_ALIGNMENT;
use super::gguf_tensor::data_bytes;
use super::gguf_value::{GgufArray, GgufValue};

/// Collects metadata and tensors, then writes them in the order given.
///
/// It holds everything in memory and is meant for test models and small
/// tools. Keys and tensor names are written as they are, also when they occur
/// twice. A `general.alignment` of type `U32` sets the alignment, as it does
/// for a reader; zero counts as one.
#[derive(Debug, Clone, Default)]
pub struct GgufWriter {
    pairs: Vec<(String, GgufValue)>,
    tensors: Vec<PendingTensor>,
}

#[derive(Debug, Clone)]
struct PendingTensor {
    name: String,
    shape: Vec<usize>,
    ty: GgmlType,
    bytes: Vec<u8>,
}

impl GgufWriter {
    /// A file without metadata and tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata pair.
    #[must_use]
    pub fn pair(mut self, key: impl Into<String>, value: GgufValue) -> Self {
        self.pairs.push((key.into(), value));
        self
    }

    /// Adds a tensor: `shape` is row-major, `bytes` are its data as the file
    /// will hold them. Both are checked when the file is written.
    #[must_use]
    pub fn tensor(
        mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        ty: GgmlType,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        self.tensors.push(PendingTensor { name: name.into(), shape: shape.into(), ty, bytes: bytes.into() });
        self
    }

    /// Adds a tensor of type [`GgmlType::F32`].
    #[must_use]
    pub fn tensor_f32(self, name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, GgmlType::F32, bytes)
    }

    /// The file as bytes.
    ///
    /// # Errors
    ///
    /// A tensor has a dimension of zero, rows that are no whole blocks, or
    /// not the bytes that its shape and type require.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let label = Path::new("new GGUF file");
        for tensor in &self.tensors {
            check(label, tensor)?;
        }
        let mut out = Vec::new();
        self.write_all(&mut out).map_err(|source| FormatError::Io { path: label.to_path_buf(), source })?;
        Ok(out)
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// As [`to_bytes`](Self::to_bytes), or writing fails.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), FormatError> {
        let path = path.as_ref();
        fs::write(path, self.to_bytes()?).map_err(|source| FormatError::Io { path: path.to_path_buf(), source })
    }

    fn alignment(&self) -> usize {
        let declared = self.pairs.iter().find_map(|(key, value)| match value {
            GgufValue::U32(value) if key == "general.alignment" => Some(u64::from(*value)),
            _ => None,
        });
        usize::try_from(declared.unwrap_or(DEFAULT_ALIGNMENT)).unwrap_or(usize::MAX).max(1)
    }

    fn write_all(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let alignment = self.alignment();
        out.write_all(b"GGUF")?;
        out.write_all(&3_u32.to_le_bytes())?;
        write_length(out, self.tensors.len())?;
        write_length(out, self.pairs.len())?;
        for (key, value) in &self.pairs {
            write_string(out, key)?;
            out.write_all(&value.type_id().to_le_bytes())?;
            write_value(out, value)?;
        }
        let mut offset = 0_usize;
        for tensor in &self.tensors {
            write_string(out, &tensor.name)?;
            let dimensions = u32::try_from(tensor.shape.len()).map_err(io::Error::other)?;
            out.write_all(&dimensions.to_le_bytes())?;
            for size in tensor.shape.iter().rev() {
                write_length(out, *size)?;
            }
            out.write_all(&tensor.ty.id().to_le_bytes())?;
            write_length(out, offset)?;
            offset = (offset + tensor.bytes.len()).next_multiple_of(alignment);
        }
        for tensor in &self.tensors {
            pad(out, alignment);
            out.write_all(&tensor.bytes)?;
        }
        pad(out, alignment);
        Ok(())
    }
}

fn check(label: &Path, tensor: &PendingTensor) -> Result<(), FormatError> {
    let expected = data_bytes(label, &tensor.name, tensor.ty, &tensor.shape)?;
    let found = u64::try_from(tensor.bytes.len()).unwrap_or(u64::MAX);
    if expected == found {
        Ok(())
    } else {
        Err(FormatError::SizeMismatch { path: label.to_path_buf(), tensor: tensor.name.clone(), expected, found })
    }
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

fn write_length(out: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let length = u64::try_from(length).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())
}

fn write_string(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    write_length(out, text.len())?;
    out.write_all(text.as_bytes())
}

fn write_value(out: &mut Vec<u8>, value: &GgufValue) -> io::Result<()> {
    match value {
        GgufValue::U8(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::I8(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::U16(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::I16(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::U32(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::I32(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::F32(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::Bool(value) => out.write_all(&[u8::from(*value)]),
        GgufValue::String(value) => write_string(out, value),
        GgufValue::Array(values) => write_array(out, values),
        GgufValue::U64(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::I64(value) => out.write_all(&value.to_le_bytes()),
        GgufValue::F64(value) => out.write_all(&value.to_le_bytes()),
    }
}

fn write_array(out: &mut Vec<u8>, array: &GgufArray) -> io::Result<()> {
    out.write_all(&array.element_type_id().to_le_bytes())?;
    write_length(out, array.len())?;
    match array {
        GgufArray::U8(values) => out.write_all(values),
        GgufArray::I8(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::U16(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::I16(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::U32(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::I32(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::F32(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::Bool(values) => each(out, values, |value| [u8::from(*value)]),
        GgufArray::String(values) => values.iter().try_for_each(|text| write_string(out, text)),
        GgufArray::Array(values) => values.iter().try_for_each(|array| write_array(out, array)),
        GgufArray::U64(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::I64(values) => each(out, values, |value| value.to_le_bytes()),
        GgufArray::F64(values) => each(out, values, |value| value.to_le_bytes()),
    }
}

fn each<T, const N: usize>(out: &mut Vec<u8>, values: &[T], to_le_bytes: impl Fn(&T) -> [u8; N]) -> io::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&to_le_bytes(value)))
}
