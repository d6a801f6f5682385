//! The tensors of a checkpoint, in either format.

use super::adapter::AdapterFile;
use super::error::{LoadError, NamedShape, TensorMismatch};
use super::gguf_names::{hugging_face_name, unpermute};
use super::hf_names::{EMBEDDING, Extra, HEAD, Naming};
use super::tensors::{Source, on_device};
use super::warning::Warning;
use crate::config::LlamaConfig;
use crate::device::{WeightDtype, has_kernels};
use crate::files::Files;
use crate::format::{
    FloatType, FormatError, GgmlType, GgufFile, SafetensorsFolder, f32_to_f16, not_finite, quantize_q8_0, to_f16,
    to_f32,
};
use crate::matrix::Matrix;
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::f16;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// The number of rows that are dequantised together, so that a conversion never holds a whole tensor in `f32`.
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

    /// Returns a source of the expected tensors, with the adapters merged: matrices as `dtype` says, vectors as `f32`.
    pub(super) fn reader<'a>(
        &'a self,
        config: &'a LlamaConfig,
        expected: &[NamedShape],
        adapters: &'a [AdapterFile],
        (dtype, device): (WeightDtype, &'a Device),
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Reader<'a> {
        let stored = self.stored(config);
        let total = expected.iter().filter_map(|tensor| stored.get(&tensor.name)).map(|found| found.bytes).sum();
        progress(Progress { tensor: "", done: 0, total });
        Reader { weights: self, config, adapters, dtype, device, stored, progress, done: 0, total }
    }

    /// Returns what a load with these settings keeps in another form than asked for.
    pub(super) fn load_warnings(
        &self,
        config: &LlamaConfig,
        expected: &[NamedShape],
        adapters: &[AdapterFile],
        (dtype, device): (WeightDtype, &Device),
    ) -> Vec<Warning> {
        let (stored, kernels) = (self.stored(config), has_kernels(device));
        let (mut adapted, mut widened) = (Vec::new(), 0);
        for tensor in expected.iter().filter(|tensor| tensor.shape.len() == 2) {
            let Some(found) = stored.get(&tensor.name) else { continue };
            match self.form(tensor, &found.name, adapters, (dtype, device)) {
                Form::Blocks(_) | Form::Q8 => widened += usize::from(!kernels),
                Form::F32 | Form::F16 if dtype == WeightDtype::Stored && self.ty(&found.name).is_quantised() => {
                    adapted.push(tensor.name.clone());
                }
                Form::F32 | Form::F16 => {}
            }
        }
        let mut warnings = Vec::new();
        if !adapted.is_empty() {
            warnings.push(Warning::AdaptedBlocks { tensors: adapted });
        }
        if widened > 0 {
            warnings.push(Warning::NoBlockKernels { device: format!("{device:?}"), matrices: widened });
        }
        warnings
    }

    /// Returns `true` if at least one of the matrices is stored as quantised blocks.
    pub(super) fn quantised(&self, config: &LlamaConfig, expected: &[NamedShape]) -> bool {
        let stored = self.stored(config);
        let mut matrices = expected.iter().filter(|tensor| tensor.shape.len() == 2);
        matrices.any(|tensor| stored.get(&tensor.name).is_some_and(|found| self.ty(&found.name).is_quantised()))
    }

    /// Returns the form in which the matrix that is named `stored` in the file is kept.
    fn form(
        &self,
        tensor: &NamedShape,
        stored: &str,
        adapters: &[AdapterFile],
        (dtype, device): (WeightDtype, &Device),
    ) -> Form {
        let adapted = adapted(adapters, tensor);
        let half = if device.supports_dtype(DType::F16) { Form::F16 } else { Form::F32 };
        let whole = tensor.shape.last().is_some_and(|width| width.is_multiple_of(GgmlType::Q8_0.block_size()));
        match (dtype, self.ty(stored)) {
            (WeightDtype::F32, _) | (WeightDtype::Stored, GgmlType::F32 | GgmlType::Bf16) => Form::F32,
            (WeightDtype::F16, _) => Form::F16,
            (WeightDtype::Stored, ty) if ty.is_quantised() && !adapted => Form::Blocks(ty),
            (WeightDtype::Q8, GgmlType::Q8_0) if !adapted => Form::Blocks(GgmlType::Q8_0),
            (WeightDtype::Q8, _) if whole => Form::Q8,
            (WeightDtype::Stored | WeightDtype::Q8, _) => half,
        }
    }

    /// Returns the type of a tensor in the file, by the name that it has there.
    fn ty(&self, name: &str) -> GgmlType {
        match self {
            Self::Safetensors { tensors, .. } => match tensors.tensor(name).ok().and_then(|info| info.dtype.float()) {
                Some(FloatType::F16) => GgmlType::F16,
                Some(FloatType::Bf16) => GgmlType::Bf16,
                // Other types are refused when the tensor is read.
                Some(FloatType::F32) | None => GgmlType::F32,
            },
            Self::Gguf { file, .. } => file.get(name).map_or(GgmlType::F32, |info| info.dtype),
        }
    }

    /// Reads the bytes of a tensor as the file has them.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Safetensors { tensors, .. } => tensors.read_tensor_bytes(name),
            Self::Gguf { file, .. } => file.read_tensor_bytes(name),
        }
    }

    /// Reads some rows of a tensor as `f32`.
    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>, FormatError> {
        match self {
            Self::Safetensors { tensors, .. } => {
                let bytes = tensors.read_rows(name, rows)?; // refuses other types than floats
                Ok(to_f32(tensors.tensor(name)?.dtype.float().unwrap_or(FloatType::F32), &bytes))
            }
            Self::Gguf { file, .. } => file.dequantize_rows(name, rows),
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

/// The form in which a matrix is kept.
#[derive(Clone, Copy)]
enum Form {
    F32,
    F16,
    /// The blocks that the file has.
    Blocks(GgmlType),
    /// `Q8_0` blocks that are made when the matrix is loaded.
    Q8,
}

/// A source that reads the tensors of a checkpoint.
pub(super) struct Reader<'a> {
    weights: &'a Weights,
    config: &'a LlamaConfig,
    adapters: &'a [AdapterFile],
    dtype: WeightDtype,
    device: &'a Device,
    /// The tensors that have not been read.
    stored: BTreeMap<String, Stored>,
    progress: &'a mut dyn FnMut(Progress<'_>),
    done: u64,
    total: u64,
}

impl Source for Reader<'_> {
    type Vector = Param<Tensor<1>>;
    type Matrix = Matrix;
    type Error = LoadError;

    fn vector(&mut self, name: String, width: usize) -> Result<Param<Tensor<1>>, LoadError> {
        let tensor = NamedShape { name, shape: vec![width] };
        let stored = self.take(&tensor)?;
        let vector = on_device(self.floats(&tensor, &stored.name, false)?, self.device);
        self.report(&tensor, &stored);
        Ok(vector)
    }

    fn matrix(&mut self, name: String, shape: [usize; 2]) -> Result<Matrix, LoadError> {
        let tensor = NamedShape { name, shape: shape.to_vec() };
        let stored = self.take(&tensor)?;
        let matrix = match self.weights.form(&tensor, &stored.name, self.adapters, (self.dtype, self.device)) {
            Form::F32 => on_device::<2>(self.floats(&tensor, &stored.name, false)?, self.device).into(),
            Form::F16 => on_device::<2>(self.floats(&tensor, &stored.name, true)?, self.device).into(),
            Form::Blocks(ty) => self.blocks(&tensor, &stored.name, ty, shape)?,
            Form::Q8 => self.quantised(&tensor, &stored.name, shape)?,
        };
        self.report(&tensor, &stored);
        Ok(matrix)
    }
}

impl Reader<'_> {
    /// Takes the description of an expected tensor.
    fn take(&mut self, tensor: &NamedShape) -> Result<Stored, LoadError> {
        self.stored.remove(&tensor.name).ok_or_else(|| {
            let mismatch = TensorMismatch { missing: vec![tensor.clone()], ..Default::default() };
            LoadError::Tensors { path: self.weights.path().to_path_buf(), mismatch: Box::new(mismatch) }
        })
    }

    /// Reports that a tensor has been read.
    fn report(&mut self, tensor: &NamedShape, stored: &Stored) {
        self.done += stored.bytes;
        (self.progress)(Progress { tensor: &tensor.name, done: self.done, total: self.total });
    }

    /// Reads the tensor that is named `stored` in the file as `f32`, or as `f16` if `half`.
    fn floats(&self, tensor: &NamedShape, stored: &str, half: bool) -> Result<TensorData, LoadError> {
        // Adapters are merged in f32.
        let (data, not_finite, overflows) = if half && !adapted(self.adapters, tensor) {
            let (values, overflows) = self.weights.halves(stored)?;
            let not_finite = values.iter().filter(|x| !x.is_finite()).count();
            (TensorData::new(self.ordered(tensor, values), tensor.shape.clone()), not_finite, overflows)
        } else {
            let values = self.merged(tensor, stored)?;
            let not_finite = values.iter().filter(|x| !x.is_finite()).count();
            let (data, overflows) = narrow(values, &tensor.shape, half);
            (data, not_finite, overflows)
        };
        self.check(tensor, not_finite, overflows, WeightDtype::F16)?;
        Ok(data)
    }

    /// Reads the quantised blocks of a matrix.
    fn blocks(&self, tensor: &NamedShape, stored: &str, ty: GgmlType, shape: [usize; 2]) -> Result<Matrix, LoadError> {
        let bytes = self.weights.bytes(stored)?;
        self.check(tensor, not_finite(ty, &bytes), 0, WeightDtype::Stored)?;
        self.of_blocks(ty, shape, self.ordered(tensor, bytes))
    }

    /// Reads a matrix, and quantises it to `Q8_0`.
    fn quantised(&self, tensor: &NamedShape, stored: &str, shape: [usize; 2]) -> Result<Matrix, LoadError> {
        let (mut bytes, mut not_finite, mut overflows) = (Vec::new(), 0, 0);
        let mut add = |values: &[f32]| {
            not_finite += values.iter().filter(|x| !x.is_finite()).count();
            overflows += quantize_q8_0(values, &mut bytes);
        };
        let adapted = adapted(self.adapters, tensor);
        if adapted {
            add(&self.merged(tensor, stored)?);
        } else {
            for start in (0..shape[0]).step_by(ROWS_AT_ONCE) {
                add(&self.weights.rows(stored, start..(start + ROWS_AT_ONCE).min(shape[0]))?);
            }
        }
        self.check(tensor, not_finite, overflows, WeightDtype::Q8)?;
        let bytes = if adapted { bytes } else { self.ordered(tensor, bytes) };
        self.of_blocks(GgmlType::Q8_0, shape, bytes)
    }

    fn of_blocks(&self, ty: GgmlType, shape: [usize; 2], bytes: Vec<u8>) -> Result<Matrix, LoadError> {
        let matrix = Matrix::of_blocks(ty, shape, bytes, self.device);
        Ok(matrix.map_err(|kind| kind.at(self.weights.path()))?)
    }

    /// Reads a tensor as `f32`, with its rows in order and the adapters merged.
    fn merged(&self, tensor: &NamedShape, stored: &str) -> Result<Vec<f32>, LoadError> {
        let mut values = match self.adapters.iter().rev().find_map(|adapter| adapter.base(&tensor.name)) {
            Some(values) => values?,
            None => self.ordered(tensor, self.weights.floats(stored)?),
        };
        for adapter in self.adapters {
            adapter.merge(&tensor.name, &mut values)?;
        }
        Ok(values)
    }

    /// Puts the rows of a tensor, as values or as bytes, into the order of Hugging Face checkpoints.
    fn ordered<T: Copy>(&self, tensor: &NamedShape, values: Vec<T>) -> Vec<T> {
        let reordered = matches!(self.weights, Weights::Gguf { permuted: true, .. })
            && (tensor.name.contains(".q_proj.") || tensor.name.contains(".k_proj."));
        let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
        if reordered { unpermute(&values, self.config.head_dim, values.len() / rows) } else { values }
    }

    /// Refuses values that are not finite, or that did not fit `dtype`.
    fn check(
        &self,
        tensor: &NamedShape,
        not_finite: usize,
        overflows: usize,
        dtype: WeightDtype,
    ) -> Result<(), LoadError> {
        let (path, tensor) = (self.weights.path().to_path_buf(), tensor.name.clone());
        match (overflows, not_finite) {
            (0, 0) => Ok(()),
            (0, count) => Err(LoadError::NotFinite { path, tensor, count }),
            (count, _) => Err(LoadError::Overflow { path, tensor, count, dtype }),
        }
    }
}

/// Returns `true` if an adapter changes the tensor.
fn adapted(adapters: &[AdapterFile], tensor: &NamedShape) -> bool {
    adapters.iter().any(|adapter| adapter.adapts(&tensor.name))
}

/// Converts `values` to `f16` if `half`, and counts the finite ones that do not fit and become infinite.
pub(super) fn narrow(values: Vec<f32>, shape: &[usize], half: bool) -> (TensorData, usize) {
    if half {
        let (halves, overflows) = f32_to_f16(&values);
        (TensorData::new(halves, shape), overflows)
    } else {
        (TensorData::new(values, shape), 0)
    }
}

/// Reads a tensor's element type and bytes.
fn float_bytes(folder: &SafetensorsFolder, name: &str) -> Result<(FloatType, Vec<u8>), FormatError> {
    let bytes = folder.read_tensor_bytes(name)?; // refuses other types than floats
    Ok((folder.tensor(name)?.dtype.float().unwrap_or(FloatType::F32), bytes))
}
