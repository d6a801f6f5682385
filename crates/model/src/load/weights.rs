//! The tensors of a checkpoint, in either format.

use super::adapter::Adapter;
use super::error::{LoadError, NamedShape, TensorMismatch};
use super::gguf_names::{hugging_face_name, unpermute};
use super::hf_names::{EMBEDDING, Extra, HEAD, Naming};
use super::warning::Warning;
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

    /// Returns all tensors by their names in a whole Hugging Face model, or by their names in the file if they have
    /// none. If the embedding is the head and only the head is stored, that is the embedding.
    fn stored(&self, config: &LlamaConfig) -> BTreeMap<String, Stored> {
        let mut stored: BTreeMap<String, Stored> = match self {
            Self::Safetensors { tensors, .. } => {
                let naming = Naming::of(tensors.tensors().map(|(name, _)| name));
                tensors
                    .tensors()
                    .map(|(name, info)| (naming.whole(name), Stored::new(name, &info.shape, info.bytes)))
                    .collect()
            }
            Self::Gguf { file, .. } => file
                .tensors()
                .map(|(name, info)| {
                    let known = hugging_face_name(name).unwrap_or_else(|| name.to_owned());
                    (known, Stored::new(name, &info.shape, info.bytes))
                })
                .collect(),
        };
        if config.tied_embeddings
            && !stored.contains_key(EMBEDDING)
            && let Some(head) = stored.remove(HEAD)
        {
            stored.insert(EMBEDDING.to_owned(), head);
        }
        stored
    }

    /// Returns `true` if there are an embedding and an output head, and they differ.
    ///
    /// # Errors
    /// If reading them fails.
    pub(super) fn head_differs(&self, config: &LlamaConfig) -> Result<bool, FormatError> {
        let Self::Safetensors { tensors, .. } = self else {
            return Ok(false); // a GGUF file with a head is never tied
        };
        let stored = self.stored(config);
        let (Some(embedding), Some(head)) = (stored.get(EMBEDDING), stored.get(HEAD)) else { return Ok(false) };
        let (embedding, head) = (embedding.name.as_str(), head.name.as_str());
        let (one, other) = (tensors.tensor(embedding)?, tensors.tensor(head)?);
        if one.shape != [config.vocab_size, config.d_model] {
            return Ok(false); // an error later
        }
        if one.shape != other.shape || one.dtype != other.dtype {
            return Ok(true);
        }
        for start in (0..one.rows()).step_by(ROWS_AT_ONCE) {
            let rows = start..(start + ROWS_AT_ONCE).min(one.rows());
            if tensors.read_rows(embedding, rows.clone())? != tensors.read_rows(head, rows)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compares the checkpoint's tensors with those that the configuration requires, and returns what is odd about
    /// them.
    ///
    /// # Errors
    /// [`LoadError::Tensors`] with all tensors that are missing, unexpected or of a wrong shape.
    pub(super) fn check(&self, config: &LlamaConfig, expected: &[NamedShape]) -> Result<Vec<Warning>, LoadError> {
        let mut stored = self.stored(config);
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
        let (mut last, mut ignored) = (None, Vec::new());
        for (name, found) in stored {
            match self.extra(&name, config) {
                Extra::Known => {}
                Extra::Layer(layer) => last = last.max(Some(layer)),
                // If a tensor is missing, this one may be it under another name.
                Extra::Beside if mismatch.missing.is_empty() => ignored.push(found.name),
                Extra::Beside | Extra::Arithmetic => {
                    mismatch.unexpected.push(NamedShape { name, shape: found.shape });
                }
            }
        }
        if !mismatch.is_empty() {
            return Err(LoadError::Tensors { path: self.path().to_path_buf(), mismatch: Box::new(mismatch) });
        }
        let mut warnings = Vec::new();
        if let Some(last) = last {
            warnings.push(Warning::MoreLayersStored { stored: last.saturating_add(1), used: config.n_layers });
        }
        if !ignored.is_empty() {
            warnings.push(Warning::Ignored { tensors: ignored });
        }
        if let Self::Safetensors { tensors, .. } = self
            && !tensors.missing().is_empty()
        {
            warnings.push(Warning::IndexedButMissing { tensors: tensors.missing().to_vec() });
        }
        Ok(warnings)
    }

    /// Judges a tensor that is no part of the model.
    fn extra(&self, name: &str, config: &LlamaConfig) -> Extra {
        match (self, Extra::of(name, config)) {
            // The configuration already contains them.
            (Self::Gguf { .. }, _) if name == "rope_freqs.weight" => Extra::Known,
            // The head of a classifier. Other tensors without a Hugging Face name may be parts of the layers.
            (Self::Gguf { .. }, Extra::Beside) if !name.starts_with("cls.") => Extra::Arithmetic,
            (_, extra) => extra,
        }
    }

    /// Returns a function that reads one expected tensor, with the adapters merged: a matrix as `dtype`, a vector as
    /// `f32`.
    pub(super) fn reader<'a>(
        &'a self,
        config: &'a LlamaConfig,
        expected: &[NamedShape],
        adapters: &'a [Adapter],
        dtype: WeightDtype,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> impl FnMut(&NamedShape) -> Result<TensorData, LoadError> + 'a {
        let stored = self.stored(config);
        let total = expected.iter().filter_map(|tensor| stored.get(&tensor.name)).map(|found| found.bytes).sum();
        let mut done = 0;
        progress(Progress { tensor: "", done, total });
        move |tensor| {
            let Some(found) = stored.get(&tensor.name) else {
                let mismatch = TensorMismatch { missing: vec![tensor.clone()], ..Default::default() };
                return Err(LoadError::Tensors { path: self.path().to_path_buf(), mismatch: Box::new(mismatch) });
            };
            let dtype = if tensor.shape.len() == 1 { WeightDtype::F32 } else { dtype };
            let data = self.read(tensor, &found.name, config, adapters, dtype)?;
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
        adapters: &[Adapter],
        dtype: WeightDtype,
    ) -> Result<TensorData, LoadError> {
        let row = tensor.shape.get(1).copied().unwrap_or(1);
        let reordered = match self {
            Self::Gguf { permuted, .. } => {
                *permuted && (tensor.name.contains(".q_proj.") || tensor.name.contains(".k_proj."))
            }
            Self::Safetensors { .. } => false,
        };
        let adapted = adapters.iter().any(|adapter| adapter.adapts(&tensor.name));
        let (data, not_finite, overflows) = match dtype {
            WeightDtype::F16 if !adapted => {
                let (values, overflows) = self.halves(stored)?;
                let not_finite = values.iter().filter(|x| !x.is_finite()).count();
                let values = if reordered { unpermute(&values, config.head_dim, row) } else { values };
                (TensorData::new(values, tensor.shape.clone()), not_finite, overflows)
            }
            // Adapters are merged in f32.
            WeightDtype::F32 | WeightDtype::F16 => {
                let mut values = match adapters.iter().rev().find_map(|adapter| adapter.base(&tensor.name)) {
                    Some(values) => values?,
                    None if reordered => unpermute(&self.floats(stored)?, config.head_dim, row),
                    None => self.floats(stored)?,
                };
                for adapter in adapters {
                    adapter.merge(&tensor.name, &mut values)?;
                }
                let not_finite = values.iter().filter(|x| !x.is_finite()).count();
                let (data, overflows) = narrow(values, &tensor.shape, dtype);
                (data, not_finite, overflows)
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

/// Converts `values` to `dtype`, and counts the finite ones that do not fit and become infinite.
pub(super) fn narrow(values: Vec<f32>, shape: &[usize], dtype: WeightDtype) -> (TensorData, usize) {
    match dtype {
        WeightDtype::F32 => (TensorData::new(values, shape), 0),
        WeightDtype::F16 => {
            let (halves, overflows) = f32_to_f16(&values);
            (TensorData::new(halves, shape), overflows)
        }
    }
}

/// Reads a tensor's element type and bytes.
fn float_bytes(folder: &SafetensorsFolder, name: &str) -> Result<(FloatType, Vec<u8>), FormatError> {
    let bytes = folder.read_tensor_bytes(name)?; // refuses other types than floats
    Ok((folder.tensor(name)?.dtype.float().unwrap_or(FloatType::F32), bytes))
}
