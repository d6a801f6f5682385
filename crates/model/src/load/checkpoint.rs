//! Checkpoints. Opening one checks its headers; its weights are read afterwards.

use super::adapter::AdapterFile;
use super::tensors::{assemble, expected};
use super::weights::Weights;
use super::{LoadError, Progress, Warning, folder, gguf_config, gguf_text};
use crate::config::{LlamaConfig, generation_eos_tokens};
use crate::decoder::Llama;
use crate::device::WeightDtype;
use crate::files::{Bytes, Files};
use crate::format::{GgufFile, SafetensorsFolder};
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// An open Hugging Face checkpoint or GGUF file, on disk or in memory, whose headers have been checked.
///
/// Its weights are read by [`load`](Self::load).
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
    config: LlamaConfig,
    weights: Weights,
    warnings: Vec<Warning>,
    adapters: Vec<AdapterFile>,
}

impl Checkpoint {
    /// Opens a folder (`config.json`, and `model.safetensors` or an index of shards) or a single GGUF file.
    ///
    /// Reads headers and configuration, and compares the tensors with those that the configuration requires. What is odd
    /// but harmless becomes a [warning](Self::warnings): layers after the last one of the configuration, heads of other
    /// tasks, or an output head that differs from the embedding although the configuration ties the two.
    ///
    /// # Errors
    /// If there is no checkpoint, if it is invalid, or if it describes a model that this crate cannot run exactly.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        if path.is_dir() {
            Self::from_hugging_face(Files::Folder(path.to_path_buf()))
        } else if path.is_file() {
            Self::from_gguf(GgufFile::open(path).map_err(|error| folder::other_file(path, error))?)
        } else {
            Err(LoadError::NotACheckpoint { path: path.to_path_buf(), found: folder::describe(path) })
        }
    }

    /// Opens a Hugging Face checkpoint from files in memory, given with the names that they have in a folder.
    ///
    /// These are the files that [`open`](Self::open) reads: `config.json`, `model.safetensors` (or an index and its
    /// shards), `tokenizer.json`, and the optional ones, such as `tokenizer_config.json`, `generation_config.json` and
    /// `chat_template.jinja`. Other files are ignored. If two files have the same name, the last one is used. Errors
    /// give the name of a file, without a folder. `include_bytes!` embeds a model in a program:
    ///
    /// ```no_run
    /// # macro_rules! include_bytes { ($path:literal) => { b"" } }
    /// use dynlayer_model::Checkpoint;
    ///
    /// let checkpoint = Checkpoint::from_files([
    ///     ("config.json", include_bytes!("model/config.json").as_slice()),
    ///     ("model.safetensors", include_bytes!("model/model.safetensors").as_slice()),
    ///     ("tokenizer.json", include_bytes!("model/tokenizer.json").as_slice()),
    /// ])?;
    /// # Ok::<(), dynlayer_model::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// The same as [`open`](Self::open).
    pub fn from_files<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Self, LoadError>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        let files = files.into_iter().map(|(name, bytes)| (name.into(), Bytes::new(bytes.into())));
        Self::from_hugging_face(Files::Memory(files.collect()))
    }

    /// Opens a GGUF file from memory.
    ///
    /// ```no_run
    /// # macro_rules! include_bytes { ($path:literal) => { b"" } }
    /// use dynlayer_model::Checkpoint;
    ///
    /// let checkpoint = Checkpoint::from_gguf_bytes(include_bytes!("model.gguf"))?;
    /// # Ok::<(), dynlayer_model::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// The same as [`open`](Self::open); errors call the file "GGUF in memory".
    pub fn from_gguf_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, LoadError> {
        Self::from_gguf(GgufFile::from_reader(Cursor::new(bytes.into()), "GGUF in memory")?)
    }

    fn from_hugging_face(files: Files) -> Result<Self, LoadError> {
        folder::check(&files)?;
        let (config, removed) = LlamaConfig::from_hf_files(&files)?;
        let warning = |(key, id): (&str, u32)| {
            let (key, id, vocab_size) = (key.to_owned(), u64::from(id), config.vocab_size);
            Warning::SpecialTokenOutOfRange { key, id, vocab_size }
        };
        let warnings = removed.into_iter().map(warning).collect();
        let tensors = SafetensorsFolder::from_files(&files)?;
        Self::new(config, Weights::Safetensors { files, tensors }, warnings)
    }

    fn from_gguf(file: GgufFile) -> Result<Self, LoadError> {
        let (config, permuted, warnings) = gguf_config::config(&file)?;
        Self::new(config, Weights::Gguf { file, permuted }, warnings)
    }

    fn new(mut config: LlamaConfig, weights: Weights, mut warnings: Vec<Warning>) -> Result<Self, LoadError> {
        if config.tied_embeddings && weights.head_differs(&config)? {
            config.tied_embeddings = false;
            warnings.push(Warning::TiedHeadDiffers);
        }
        warnings.extend(weights.check(&config, &expected(&config))?);
        Ok(Self { config, weights, warnings, adapters: Vec::new() })
    }

    /// Adds a LoRA adapter in the format of PEFT: a folder with `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// [`load`](Self::load) then adds s B A in `f32` to each matrix W that the adapter changes, before the matrix is
    /// converted. Adapters add up, in any order. Which matrices change is a matter of the tensors in the adapter; the
    /// configuration gives ranks, scales and layers. Its `base_model_name_or_path` is not compared with this
    /// checkpoint; the shapes of all tensors are.
    ///
    /// ```no_run
    /// use dynlayer_model::Checkpoint;
    ///
    /// let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct")?.with_adapter("my-adapter")?;
    /// # Ok::<(), dynlayer_model::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such adapter, if it does not fit the model, or if it is more than a sum W + s B A, such as an
    /// adapter with DoRA, or with tokens, biases or whole modules that were trained too.
    pub fn with_adapter(mut self, path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let adapter = AdapterFile::open(path.as_ref(), &self.config, &expected(&self.config))?;
        if !adapter.not_transformed.is_empty() {
            self.warnings.push(Warning::NotTransformed { tensors: adapter.not_transformed.clone() });
        }
        self.adapters.push(adapter);
        Ok(self)
    }

    /// The model's configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The oddities of the checkpoint that do not keep it from loading. Show them to the users of your program.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns the oddities of a [`load`](Self::load) with these settings, which are not among the
    /// [warnings](Self::warnings): matrices that are not kept in the type that was asked for.
    pub fn load_warnings(&self, dtype: WeightDtype, device: &Device) -> Vec<Warning> {
        self.weights.load_warnings(&self.config, &expected(&self.config), &self.adapters, (dtype, device))
    }

    /// Returns `true` if matrices are stored as quantised blocks, as in most GGUF files. [`WeightDtype::Stored`] then
    /// takes the least memory.
    pub fn is_quantised(&self) -> bool {
        self.weights.quantised(&self.config, &expected(&self.config))
    }

    /// Reads the checkpoint's tokenizer, with its chat template if it has one.
    ///
    /// It may know tokens that the model has no embedding for, such as a token for padding that was added later. A text
    /// with such a token cannot be run, and every other can.
    ///
    /// # Errors
    /// If there is no tokenizer, or if it is invalid or of an unsupported kind. The model runs on token ids all the
    /// same.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        Ok(match &self.weights {
            Weights::Safetensors { files, .. } => Tokenizer::from_hf_files(files)?,
            Weights::Gguf { file, .. } => gguf_text::tokenizer(file)?,
        })
    }

    /// Returns the tokens that end a text or a turn, in rising order: those that the configuration,
    /// `generation_config.json` and the tokenizer's files name, and those of the tokenizer that have the text of a
    /// well-known one, such as `<|eot_id|>`. Ids beyond the model's vocabulary are left out.
    ///
    /// # Errors
    /// If `generation_config.json` exists but cannot be read.
    pub fn stop_tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, LoadError> {
        let mut tokens = self.config.eos_tokens.clone();
        if let Weights::Safetensors { files, .. } = &self.weights {
            tokens.extend(generation_eos_tokens(files)?);
        }
        tokens.extend(tokenizer.end_ids());
        tokens.retain(|token| usize::try_from(*token).is_ok_and(|token| token < self.config.vocab_size));
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// Reads the weights, one tensor after another, onto the device.
    ///
    /// Matrices are kept as `dtype` says, vectors in `f32`. Each tensor goes to the device before the next is read, so
    /// that the host holds only one besides those already loaded. `progress` is called before the first tensor and
    /// after each.
    ///
    /// # Errors
    /// If reading fails, if a weight is not finite or does not fit `dtype`, or if the device cannot compute with it.
    pub fn load(
        &self,
        dtype: WeightDtype,
        device: &Device,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<Llama, LoadError> {
        if dtype.burn().is_some_and(|dtype| !device.supports_dtype(dtype)) {
            return Err(LoadError::Dtype { device: format!("{device:?}"), dtype });
        }
        let expected = expected(&self.config);
        let reader = self.weights.reader(&self.config, &expected, &self.adapters, (dtype, device), &mut progress);
        assemble(&self.config, reader)
    }
}

#[cfg(all(test, feature = "flex"))]
mod quantised_tests;
#[cfg(all(test, feature = "flex"))]
mod tests;
