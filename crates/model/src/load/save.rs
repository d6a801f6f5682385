//! Writing a model as a Hugging Face folder.

use crate::config::ConfigError;
use crate::decoder::Llama;
use crate::device::WeightDtype;
use crate::format::{SINGLE, write_atomic};
use crate::matrix::Blocks;
use crate::parameters::{VisitParameters, visit};
use burn::tensor::{DType, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

/// An error in saving a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The configuration cannot be written as `config.json`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model cannot be saved as this type.
    #[error("a model cannot be saved as {dtype}; types that can be saved are f32 and f16")]
    Dtype {
        /// The type.
        dtype: WeightDtype,
    },
    /// A weight could not be read from the device.
    #[error("reading {tensor} from the device failed: {reason}")]
    Device {
        /// The tensor.
        tensor: String,
        /// The device's error.
        reason: String,
    },
    /// A weight is not finite, or becomes infinite in the type that it is stored in.
    #[error("{tensor} holds {value}, which cannot be saved as {dtype}")]
    Value {
        /// The tensor.
        tensor: String,
        /// The weight.
        value: f32,
        /// The type that it was to be saved as.
        dtype: WeightDtype,
    },
    /// The tensors could not be put into a file.
    #[error("{path}: cannot be written as safetensors")]
    Serialize {
        /// The file.
        path: PathBuf,
        /// The error of the safetensors library.
        source: safetensors::SafeTensorError,
    },
    /// A file cannot be written.
    #[error("{path}: cannot be written")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl Llama {
    /// Saves the model as `config.json` and `model.safetensors` in a folder, which is created if it does not exist.
    ///
    /// [`Checkpoint::open`](crate::Checkpoint::open) and transformers can read the result. All tensors are stored as
    /// `dtype`, which is `f32` or `f16`; quantised matrices are dequantised, and an adapter is [merged](Self::merged). Each
    /// file is written atomically: readers see it complete or not at all.
    ///
    /// # Errors
    /// If `dtype` is another type, if a weight is not finite or does not fit it, if `config.json` cannot express the
    /// configuration ([`to_hf_json`](crate::config::LlamaConfig::to_hf_json)), or if the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, dtype: WeightDtype) -> Result<(), SaveError> {
        let folder = folder.as_ref();
        check(dtype)?;
        if self.adapter().is_some() {
            // Rounded once, to the type of the file.
            return self.merged_as(|_| DType::F32).save(folder, dtype);
        }
        let config = self.config().to_hf_json()?;
        let mut collect = Collect { dtype, found: Vec::new() };
        visit(self, &mut collect)?;
        write(folder, (SINGLE, &collect.found), ("config.json", &config), dtype)
    }
}

/// Refuses other types than those of floats.
pub(super) fn check(dtype: WeightDtype) -> Result<(), SaveError> {
    match dtype {
        WeightDtype::F32 | WeightDtype::F16 => Ok(()),
        WeightDtype::Stored | WeightDtype::Q8 => Err(SaveError::Dtype { dtype }),
    }
}

/// Writes tensors, in safetensors, and their description to files in a folder, which is created if it does not exist.
pub(super) fn write(
    folder: &Path,
    (name, tensors): (&str, &[Stored]),
    (description_name, description): (&str, &str),
    dtype: WeightDtype,
) -> Result<(), SaveError> {
    let stored = if dtype == WeightDtype::F16 { Dtype::F16 } else { Dtype::F32 };
    let path = folder.join(name);
    let serialize = |source| SaveError::Serialize { path: path.clone(), source };
    let views = tensors.iter().map(|(name, shape, bytes)| {
        TensorView::new(stored, shape.clone(), bytes).map(|view| (name, view)).map_err(serialize)
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    // transformers requires this entry.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(serialize)?;
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| SaveError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    write_atomic(&path, &bytes).map_err(io(&path))?;
    let path = folder.join(description_name);
    write_atomic(&path, description.as_bytes()).map_err(io(&path))
}

/// A tensor's name, shape and bytes.
pub(super) type Stored = (String, Vec<usize>, Vec<u8>);

/// A visitor that collects the tensors of a model.
struct Collect {
    dtype: WeightDtype,
    found: Vec<Stored>,
}

impl VisitParameters for Collect {
    type Error = SaveError;

    fn parameter<const D: usize>(&mut self, path: &[String], tensor: Tensor<D>) -> Result<(), SaveError> {
        // Paths in the module tree are the names in a checkpoint without `model.` and the embedding's `.weight`.
        let name = match path.first().map(String::as_str) {
            Some("lm_head") => path.join("."),
            Some("embed_tokens") => "model.embed_tokens.weight".to_owned(),
            _ => format!("model.{}", path.join(".")),
        };
        self.found.push(stored(name, tensor, self.dtype)?);
        Ok(())
    }

    fn blocks(&mut self, path: &[String], blocks: &Blocks) -> Result<(), SaveError> {
        self.parameter(path, blocks.tensor())
    }
}

/// Reads a tensor from the device, and converts it to the bytes in the file.
pub(super) fn stored<const D: usize>(name: String, tensor: Tensor<D>, dtype: WeightDtype) -> Result<Stored, SaveError> {
    let device =
        |reason: &dyn std::fmt::Debug| SaveError::Device { tensor: name.clone(), reason: format!("{reason:?}") };
    let shape = tensor.dims().to_vec();
    let data = tensor.cast(DType::F32).try_into_data().map_err(|error| device(&error))?;
    let values = data.try_into_vec_as::<f32>().map_err(|error| device(&error))?;
    let half = dtype == WeightDtype::F16;
    let fits = |x: &f32| if half { f16::from_f32(*x).is_finite() } else { x.is_finite() };
    if let Some(value) = values.iter().copied().find(|x| !fits(x)) {
        return Err(SaveError::Value { tensor: name, value, dtype });
    }
    let bytes = if half {
        values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    };
    Ok((name, shape, bytes))
}
