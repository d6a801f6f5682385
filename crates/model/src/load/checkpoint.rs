//! A checkpoint on disk: what it is, before its weights are read.

use super::assemble::assemble;
use super::expected::expected;
use super::weights::Weights;
use super::{LoadError, Progress, WeightDtype, gguf_config, gguf_text};
use crate::config::LlamaConfig;
use crate::decoder::Llama;
use crate::format::{GgufFile, SafetensorsFolder};
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::path::{Path, PathBuf};

/// A Hugging Face folder or a GGUF file, opened and checked; its weights are read by [`load`](Self::load).
///
/// ```no_run
/// use burn::tensor::Device;
/// use dynlayer_model::{Checkpoint, WeightDtype};
///
/// # fn main() -> Result<(), dynlayer_model::LoadError> {
/// let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct")?;
/// let tokenizer = checkpoint.tokenizer()?;
/// # #[cfg(feature = "flex")]
/// let model = checkpoint.load(WeightDtype::F16, &Device::flex(), |progress| {
///     eprintln!("{} of {} bytes", progress.done, progress.total);
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: LlamaConfig,
    weights: Weights,
}

impl Checkpoint {
    /// Opens a folder (`config.json`, `model.safetensors` or a sharded index) or a single GGUF file.
    ///
    /// Reads headers and configuration, and compares the tensors with it.
    ///
    /// # Errors
    /// If there is no checkpoint, if it is broken, or if it describes a model that cannot be run exactly.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (config, weights) = if path.is_dir() {
            let config = LlamaConfig::from_hf_file(path.join("config.json"))?;
            (config, Weights::Safetensors(SafetensorsFolder::open(path)?))
        } else if path.is_file() {
            let file = GgufFile::open(path)?;
            let (config, permuted) = gguf_config::config(&file)?;
            (config, Weights::Gguf { file, permuted })
        } else {
            let found = if path.exists() { "neither a folder nor a file" } else { "nothing is there" };
            return Err(LoadError::NotACheckpoint { path: path.to_path_buf(), found });
        };
        weights.check(&config, &expected(&config))?;
        Ok(Self { path: path.to_path_buf(), config, weights })
    }

    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The checkpoint's tokenizer, with its chat template if it has one.
    ///
    /// # Errors
    /// If there is none, if it is broken or of an unsupported kind, or if it has tokens that the model does not.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        let tokenizer = match &self.weights {
            Weights::Safetensors(_) => Tokenizer::from_hf_folder(&self.path)?,
            Weights::Gguf { file, .. } => gguf_text::tokenizer(file)?,
        };
        tokenizer.check_vocab(self.config.vocab_size)?;
        Ok(tokenizer)
    }

    /// The tokens that end a text or a turn: those of the configuration, of `generation_config.json`, and of the
    /// tokenizer.
    ///
    /// # Errors
    /// If `generation_config.json` is there and cannot be read.
    pub fn stop_tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, LoadError> {
        let mut tokens = self.config.eos_tokens.clone();
        if let Weights::Safetensors(folder) = &self.weights {
            tokens.extend(super::generation_config::eos_tokens(folder.path())?);
        }
        tokens.extend(tokenizer.eos_id());
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// Reads the weights, one tensor after another, onto the device.
    ///
    /// Each matrix is converted to `dtype` on its way, so that the host holds no more than the tensor being read beside
    /// what is loaded. `progress` is called before the first tensor and after each.
    ///
    /// # Errors
    /// If reading fails, if a weight is not finite or does not fit `dtype`, or if the device cannot compute with it.
    pub fn load(
        &self,
        dtype: WeightDtype,
        device: &Device,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<Llama, LoadError> {
        crate::device::check_dtype(device, dtype)?;
        let expected = expected(&self.config);
        let reader = self.weights.reader(&self.config, &expected, dtype, &mut progress);
        assemble(&self.config, device, reader)
    }
}
