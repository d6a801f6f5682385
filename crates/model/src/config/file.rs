//! Reading and writing `config.json`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::convert;
use super::error::ConfigError;
use super::hf::HfConfig;
use super::llama::LlamaConfig;
use super::rope::RopeScaling;
use crate::files::{Files, read_limited};

/// The name of the file.
const CONFIG: &str = "config.json";

/// The most bytes of a `config.json` that are read; real ones have a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

impl LlamaConfig {
    /// Reads the `config.json` of a Hugging Face folder.
    ///
    /// # Errors
    /// The file cannot be read, or one of the errors of [`from_hf_json`](Self::from_hf_json).
    pub fn from_hf_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_hf_reader(File::open(path), path)
    }

    /// Reads the `config.json` of a Hugging Face checkpoint.
    pub(crate) fn from_hf_files(files: &Files) -> Result<Self, ConfigError> {
        Self::from_hf_reader(files.open(CONFIG), &files.path_of(CONFIG))
    }

    fn from_hf_reader(reader: io::Result<impl Read>, path: &Path) -> Result<Self, ConfigError> {
        // The length is not taken from the file's metadata: a pipe or a growing file has none that could be trusted.
        let json = reader.and_then(|reader| read_limited(reader, MAX_CONFIG_BYTES));
        let json = json.map_err(|source| ConfigError::Io { path: path.to_path_buf(), source })?;
        Self::from_hf_bytes(&json, &path.display().to_string())
    }

    /// Reads the text of a `config.json`; `origin` names it in errors.
    ///
    /// Absent fields take the defaults of transformers' class for the model, except for the five sizes that every
    /// configuration states (`vocab_size`, `hidden_size`, `intermediate_size`, `num_hidden_layers`,
    /// `num_attention_heads`): a file without them is not taken for a 7B model.
    ///
    /// # Errors
    /// Text that is not a JSON object, a field of the wrong type, a missing field, a model or a feature that is not
    /// supported, or a value that [`validate`](Self::validate) refuses.
    pub fn from_hf_json(json: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::from_hf_bytes(json.as_bytes(), origin)
    }

    fn from_hf_bytes(json: &[u8], origin: &str) -> Result<Self, ConfigError> {
        let bytes = json.len() as u64;
        if bytes > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge { origin: origin.to_owned(), bytes, limit: MAX_CONFIG_BYTES });
        }
        let config = convert::from_hf(HfConfig::parse(json, origin)?, origin)?;
        config.validate_as(origin)?;
        Ok(config)
    }

    /// The configuration as the text of a `config.json` that [`from_hf_json`](Self::from_hf_json) reads back to an equal
    /// one, and that transformers reads too.
    ///
    /// The family is derived from the switches, so a Mistral comes back as the Llama that it is, arithmetically.
    /// Numbers come back bit for bit.
    ///
    /// # Errors
    /// A configuration that [`validate`](Self::validate) refuses, or rotary frequencies with a divisor each
    /// ([`RopeScaling::PerFrequency`]), which the format cannot express.
    pub fn to_hf_json(&self) -> Result<String, ConfigError> {
        self.validate()?;
        if let RopeScaling::PerFrequency { divisors } = &self.rope.scaling {
            return Err(ConfigError::Unsupported {
                origin: "writing config.json".to_owned(),
                field: "rope.scaling",
                found: format!("PerFrequency with {} divisors", divisors.len()),
                supported: "None, Linear, Llama3",
            });
        }
        serde_json::to_string_pretty(&convert::to_hf(self)).map_err(|source| ConfigError::Write { source })
    }
}
