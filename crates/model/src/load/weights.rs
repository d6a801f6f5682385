//! The tensors of a checkpoint, in either format.

use super::error::{LoadError, NamedShape, TensorMismatch};
use super::gguf_names::{hugging_face_name, unpermute};
use crate::config::LlamaConfig;
use crate::device::WeightDtype;
use crate::files::Files;
use crate::format::{FloatType, FormatError, GgufFile, SafetensorsFolder, f32_to_f16, to_f16, to_f32};
use burn::tensor::TensorData;
use half::f16;
use std::collections::BTreeMap;
use std::path::Path;

/// The number of rows that are dequantised together, so that conversion to `f16` never holds a whole tensor in `f32`.
const ROWS_AT_ONCE: usize = 1024;

/// The progress of a load, reported before the first tensor and after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The tensor that was read last; empty before the first.
    pub tensor: &'a str,
    /// The number of bytes of tensors read so far.
    pub done: u64,
    /// The number of bytes of all tensors that will be read.
    pub total: u64,
}

/// The tensors of a checkpoint.
#[derive(Debug)]
pub(super) enum Weights {
    Safetensors {
        files: Files,
        tensors: SafetensorsFolder,
    },
    Gguf {
        file: GgufFile,
        /// If `true`, llama.cpp's converter has reordered the rows of the query and key projections.
        permuted: bool,
    },
}

/// The description of a tensor in the checkpoint.
struct Stored {
    name: String,
    shape: Vec<usize>,
    bytes: u64,
}

impl Weights {
    fn path(&self) -> &Path {
        match self {
            Self::Safetensors { files, .. } => files.path(),
            Self::Gguf { file, .. } => file.path(),
        }
    }

    /// Returns all tensors by their Hugging Face names, or by their names in the file if they have none.
    fn stored(&self) -> BTreeMap<String, Stored> {
        match self {
            Self::Safetensors { tensors, .. } => tensors
                .tensors()
                .map(|(name, info)| (name.to_owned(), Stored::new(name, &info.shape, info.bytes)))
                .collect(),
            Self::Gguf { file, .. } => file
                .tensors()
                .map(|(name, info)| {
                    let known = hugging_face_name(name).unwrap_or_else(|| name.to_owned());
                    (known, Stored::new(name, &info.shape, info.bytes))
                })
                .collect(),
        }
    }

    /// Compares the checkpoint's tensors with those that the configuration requires.
    ///
    /// # Errors
    /// [`LoadError::Tensors`] with all tensors that are missing, unexpected or of a wrong shape.
    pub(super) fn check(&self, config: &LlamaConfig, expected: &[NamedShape]) -> Result<(), LoadError> {
        let mut stored = self.stored();
        let mut mismatch = TensorMismatch::default();
        for tensor in expected {
            match stored.remove(&tensor.name) {
                None => mismatch.missing.push(tensor.clone()),
                Some(found) if found.shape != tensor.shape => {
                    let found = NamedShape { name: tensor.name.clone(), shape: found.shape };
                    mismatch.misshaped.push((found, tensor.shape.clone()));
                }
                Some(_) => {}
            }
        }
        stored.retain(|name, _| !harmless(name, config));
        mismatch.unexpected = stored.into_iter().map(|(name, found)| NamedShape { name, shape: found.shape }).collect();
        if mismatch.is_empty() {
            return Ok(());
        }
        Err(LoadError::Tensors { path: self.path().to_path_buf(), mismatch: Box::new(mismatch) })
    }

    /// Returns a function that reads one expected tensor: a matrix as `dtype`, a vector as `f32`.
    pub(super) fn reader<'a>(
        &'a self,
        config: &'a LlamaConfig,
        expected: &[NamedShape],
        dtype: WeightDtype,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> impl FnMut(&NamedShape) -> Result<TensorData, LoadError> + 'a {
        let stored = self.stored();
        let total = expected.iter().filter_map(|tensor| stored.get(&tensor.name)).map(|found| found.bytes).sum();
        let mut done = 0;
        progress(Progress { tensor: "", done, total });
        move |tensor| {
            let Some(found) = stored.get(&tensor.name) else {
                let mismatch = TensorMismatch { missing: vec![tensor.clone()], ..Default::default() };
                return Err(LoadError::Tensors { path: self.path().to_path_buf(), mismatch: Box::new(mismatch) });
            };
            let dtype = if tensor.shape.len() == 1 { WeightDtype::F32 } else { dtype };
            let data = self.read(tensor, &found.name, config, dtype)?;
            done += found.bytes;
            progress(Progress { tensor: &tensor.name, done, total });
            Ok(data)
        }
    }

    /// Reads the tensor that is named `stored` in the file, with its rows in the order of Hugging Face checkpoints.
    fn read(
        &self,
        tensor: &NamedShape,
        stored: &str,
        config: &LlamaConfig,
        dtype: WeightDtype,
    ) -> Result<TensorData, LoadError> {
        let row = tensor.shape.get(1).copied().unwrap_or(1);
        let reordered = match self {
            Self::Gguf { permuted, .. } => {
                *permuted && (tensor.name.contains(".q_proj.") || tensor.name.contains(".k_proj."))
            }
            Self::Safetensors { .. } => false,
        };
        let (data, not_finite, overflows) = match dtype {
            WeightDtype::F32 => {
                let values = self.floats(stored)?;
                let not_finite = values.iter().filter(|x| !x.is_finite()).count();
                let values = if reordered { unpermute(&values, config.head_dim, row) } else { values };
                (TensorData::new(values, tensor.shape.clone()), not_finite, 0)
            }
            WeightDtype::F16 => {
                let (values, overflows) = self.halves(stored)?;
                let not_finite = values.iter().filter(|x| !x.is_finite()).count();
                let values = if reordered { unpermute(&values, config.head_dim, row) } else { values };
                (TensorData::new(values, tensor.shape.clone()), not_finite, overflows)
            }
        };
        let (path, tensor) = (self.path().to_path_buf(), tensor.name.clone());
        match (overflows, not_finite) {
            (0, 0) => Ok(data),
            (0, count) => Err(LoadError::NotFinite { path, tensor, count }),
            (count, _) => Err(LoadError::Overflow { path, tensor, count, dtype }),
        }
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        match self {
            Self::Safetensors { tensors, .. } => {
                let (ty, bytes) = float_bytes(tensors, name)?;
                Ok(to_f32(ty, &bytes))
            }
            Self::Gguf { file, .. } => file.dequantize_tensor(name),
        }
    }

    /// Reads a tensor as `f16`, and counts the finite values that became infinite.
    fn halves(&self, name: &str) -> Result<(Vec<f16>, usize), FormatError> {
        match self {
            Self::Safetensors { tensors, .. } => {
                let (ty, bytes) = float_bytes(tensors, name)?;
                Ok(to_f16(ty, &bytes))
            }
            Self::Gguf { file, .. } => {
                let info = file.tensor(name)?;
                let (mut values, mut overflows) = (Vec::with_capacity(info.elements()), 0);
                for start in (0..info.rows()).step_by(ROWS_AT_ONCE) {
                    let rows = start..(start + ROWS_AT_ONCE).min(info.rows());
                    let (halves, overflowed) = f32_to_f16(&file.dequantize_rows(name, rows)?);
                    values.extend_from_slice(&halves);
                    overflows += overflowed;
                }
                Ok((values, overflows))
            }
        }
    }
}

impl Stored {
    fn new(name: &str, shape: &[usize], bytes: u64) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), bytes }
    }
}

/// Converts `values` to `dtype`; values that do not fit become infinite.
pub(super) fn narrow(values: Vec<f32>, shape: &[usize], dtype: WeightDtype) -> TensorData {
    match dtype {
        WeightDtype::F32 => TensorData::new(values, shape),
        WeightDtype::F16 => TensorData::new(f32_to_f16(&values).0, shape),
    }
}

/// Returns `true` for tensors that can be ignored: rotary tables that old transformers versions stored, a head that
/// equals the embedding, and the rotary factors of a GGUF file, which the configuration already contains.
fn harmless(name: &str, config: &LlamaConfig) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
        || name == "rope_freqs.weight"
        || (name == "lm_head.weight" && config.tied_embeddings)
}

/// Reads a tensor's element type and bytes.
fn float_bytes(folder: &SafetensorsFolder, name: &str) -> Result<(FloatType, Vec<u8>), FormatError> {
    let bytes = folder.read_tensor_bytes(name)?; // refuses other types than floats
    Ok((folder.tensor(name)?.dtype.float().unwrap_or(FloatType::F32), bytes))
}
