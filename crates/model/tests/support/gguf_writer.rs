//! A writer of small GGUF files (little-endian, version 3) for the tests of this crate and of the workspace.

use dynlayer_model::format::{GgmlType, GgufArray, GgufValue};
use std::path::Path;

/// Collects metadata and tensors, and writes them in the order given.
///
/// Keys and tensor names are written as they are, also when they occur twice. A `general.alignment` of type `U32` sets the
/// alignment, as it does for a reader; zero counts as one.
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
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata pair.
    pub fn pair(mut self, key: impl Into<String>, value: GgufValue) -> Self {
        self.pairs.push((key.into(), value));
        self
    }

    /// Adds a tensor: `shape` is row-major, `bytes` are its data as the file
    /// will hold them. Both are checked when the file is written.
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
    pub fn tensor_f32(self, name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, GgmlType::F32, bytes)
    }

    /// The file as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let alignment = self.alignment();
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        write_length(&mut out, self.tensors.len());
        write_length(&mut out, self.pairs.len());
        for (key, value) in &self.pairs {
            write_string(&mut out, key);
            write_value(&mut out, value);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            let elements: usize = tensor.shape.iter().product();
            assert_eq!(tensor.bytes.len(), elements / tensor.ty.block_size() * tensor.ty.block_bytes());
            write_string(&mut out, &tensor.name);
            out.extend(u32::try_from(tensor.shape.len()).unwrap().to_le_bytes());
            for size in tensor.shape.iter().rev() {
                write_length(&mut out, *size);
            }
            out.extend(tensor.ty.id().to_le_bytes());
            write_length(&mut out, offset);
            offset = (offset + tensor.bytes.len()).next_multiple_of(alignment);
        }
        for tensor in &self.tensors {
            pad(&mut out, alignment);
            out.extend(&tensor.bytes);
        }
        pad(&mut out, alignment);
        out
    }

    /// Writes the file.
    pub fn write(&self, path: impl AsRef<Path>) {
        std::fs::write(path, self.to_bytes()).unwrap();
    }

    fn alignment(&self) -> usize {
        let declared = self.pairs.iter().find_map(|(key, value)| match value {
            GgufValue::U32(value) if key == "general.alignment" => Some(*value),
            _ => None,
        });
        usize::try_from(declared.unwrap_or(32)).unwrap().max(1)
    }
}

fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    out.extend((length as u64).to_le_bytes());
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    write_length(out, text.len());
    out.extend(text.as_bytes());
}

/// Writes the number of the value's type in `gguf_metadata_value_type`, then the value.
fn write_value(out: &mut Vec<u8>, value: &GgufValue) {
    let mut number = |id: u32, bytes: &[u8]| {
        out.extend(id.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        GgufValue::U8(value) => number(0, &value.to_le_bytes()),
        GgufValue::I8(value) => number(1, &value.to_le_bytes()),
        GgufValue::U16(value) => number(2, &value.to_le_bytes()),
        GgufValue::I16(value) => number(3, &value.to_le_bytes()),
        GgufValue::U32(value) => number(4, &value.to_le_bytes()),
        GgufValue::I32(value) => number(5, &value.to_le_bytes()),
        GgufValue::F32(value) => number(6, &value.to_le_bytes()),
        GgufValue::Bool(value) => number(7, &[u8::from(*value)]),
        GgufValue::String(value) => {
            number(8, &[]);
            write_string(out, value);
        }
        GgufValue::Array(values) => {
            number(9, &[]);
            write_array(out, values);
        }
        GgufValue::U64(value) => number(10, &value.to_le_bytes()),
        GgufValue::I64(value) => number(11, &value.to_le_bytes()),
        GgufValue::F64(value) => number(12, &value.to_le_bytes()),
        #[allow(unreachable_patterns, reason = "reachable outside the crate, where the type may grow")]
        other => panic!("the writer does not know {other:?}"),
    }
}

/// Writes the number of the element type, the length and the elements.
fn write_array(out: &mut Vec<u8>, array: &GgufArray) {
    match array {
        GgufArray::U8(values) => each(out, 0, values, |value| [*value]),
        GgufArray::I8(values) => each(out, 1, values, |value| value.to_le_bytes()),
        GgufArray::U16(values) => each(out, 2, values, |value| value.to_le_bytes()),
        GgufArray::I16(values) => each(out, 3, values, |value| value.to_le_bytes()),
        GgufArray::U32(values) => each(out, 4, values, |value| value.to_le_bytes()),
        GgufArray::I32(values) => each(out, 5, values, |value| value.to_le_bytes()),
        GgufArray::F32(values) => each(out, 6, values, |value| value.to_le_bytes()),
        GgufArray::Bool(values) => each(out, 7, values, |value| [u8::from(*value)]),
        GgufArray::String(values) => {
            out.extend(8_u32.to_le_bytes());
            write_length(out, values.len());
            for text in values {
                write_string(out, text);
            }
        }
        GgufArray::Array(values) => {
            out.extend(9_u32.to_le_bytes());
            write_length(out, values.len());
            for array in values {
                write_array(out, array);
            }
        }
        GgufArray::U64(values) => each(out, 10, values, |value| value.to_le_bytes()),
        GgufArray::I64(values) => each(out, 11, values, |value| value.to_le_bytes()),
        GgufArray::F64(values) => each(out, 12, values, |value| value.to_le_bytes()),
        #[allow(unreachable_patterns, reason = "reachable outside the crate, where the type may grow")]
        other => panic!("the writer does not know {other:?}"),
    }
}

fn each<T, const N: usize>(out: &mut Vec<u8>, id: u32, values: &[T], to_le_bytes: impl Fn(&T) -> [u8; N]) {
    out.extend(id.to_le_bytes());
    write_length(out, values.len());
    out.extend(values.iter().flat_map(to_le_bytes));
}
