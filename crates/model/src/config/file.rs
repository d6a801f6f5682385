//! Reading and writing `config.json`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::convert;
use super::error::{ConfigError, ConfigErrorKind};
use super::family::Family;
use super::hf::{HfConfig, OneOrMany};
use super::llama::{LlamaConfig, RopeScaling};
use super::validate::UnknownTokens;
use crate::files::{Files, python_json, read_limited, shorten};

/// The name of the configuration file.
const CONFIG: &str = "config.json";

/// The name of the file with the generation settings.
const GENERATION: &str = "generation_config.json";

/// The origin in errors that arise in writing.
const WRITING: &str = "writing config.json";

/// The largest size of a `config.json` that is read, in bytes; real ones have a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

impl LlamaConfig {
    /// Reads a `config.json` file of Hugging Face transformers.
    ///
    /// # Errors
    /// The file cannot be read, or one of the errors of [`from_hf_json`](Self::from_hf_json).
    pub fn from_hf_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_hf_reader(File::open(path), path, Self::checked)
    }

    /// Reads the `config.json` of a Hugging Face checkpoint. Special tokens that the vocabulary lacks are removed, and
    /// returned with the names of their fields.
    pub(crate) fn from_hf_files(files: &Files) -> Result<(Self, UnknownTokens), ConfigError> {
        Self::from_hf_reader(files.open(CONFIG), &files.path_of(CONFIG), |mut config| {
            let removed = config.remove_unknown_tokens();
            Ok((config.checked()?, removed))
        })
    }

    fn from_hf_reader<T>(
        reader: io::Result<impl Read>,
        path: &Path,
        accept: impl FnOnce(Self) -> Result<T, ConfigErrorKind>,
    ) -> Result<T, ConfigError> {
        // The length in the file's metadata is not used, since that of a pipe or a growing file would be wrong.
        let json = reader.and_then(|reader| read_limited(reader, MAX_CONFIG_BYTES));
        json.map_err(ConfigErrorKind::Io)
            .and_then(|json| Self::from_hf_bytes(&json))
            .and_then(accept)
            .map_err(|kind| kind.at(path.display().to_string()))
    }

    /// Reads the text of a `config.json`; `origin` names it in errors.
    ///
    /// Absent fields get the defaults of the model's configuration class in transformers. Five sizes are required,
    /// because their defaults in transformers are those of a 7B model: `vocab_size`, `hidden_size`,
    /// `intermediate_size`, `num_hidden_layers` and `num_attention_heads`.
    ///
    /// # Errors
    /// Text that is not a JSON object, a field of the wrong type, a missing field, a model or a feature that is not
    /// supported, or a value that [`validate`](Self::validate) refuses.
    pub fn from_hf_json(json: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::from_hf_bytes(json.as_bytes()).and_then(Self::checked).map_err(|kind| kind.at(origin))
    }

    fn from_hf_bytes(json: &[u8]) -> Result<Self, ConfigErrorKind> {
        let bytes = json.len() as u64;
        if bytes > MAX_CONFIG_BYTES {
            return Err(ConfigErrorKind::TooLarge { bytes, limit: MAX_CONFIG_BYTES });
        }
        convert::from_hf(HfConfig::parse(json)?)
    }

    fn checked(self) -> Result<Self, ConfigErrorKind> {
        self.check()?;
        Ok(self)
    }

    /// Returns the text of a `config.json` with this configuration, for transformers and
    /// [`from_hf_json`](Self::from_hf_json), which reads an equal configuration from it.
    ///
    /// Numbers are preserved bit for bit. The family is derived from the biases, norms, windows and unrotated layers,
    /// so that a Mistral model without windows is written as a Llama model, whose arithmetic is the same.
    ///
    /// # Errors
    /// A configuration that [`validate`](Self::validate) refuses, or one that the format cannot express: one with
    /// [`RopeScaling::PerFrequency`], with windows of several lengths, or with unrotated layers in a model with the
    /// blocks of Qwen.
    pub fn to_hf_json(&self) -> Result<String, ConfigError> {
        self.validate()?;
        if let RopeScaling::PerFrequency { divisors } = &self.rope.scaling {
            let kind = ConfigErrorKind::Unsupported {
                field: "rope.scaling",
                found: format!("PerFrequency with {} divisors", divisors.len()),
                supported: "None, Linear, Llama3",
            };
            return Err(kind.at(WRITING));
        }
        let Some(family) = Family::of_config(self) else {
            let kind = ConfigErrorKind::Unsupported {
                field: "windows and unrotated",
                found: shorten(&format!("{:?} and {:?}", self.windows, self.unrotated)),
                supported: "windows of one length, and with the blocks of Qwen no unrotated layers",
            };
            return Err(kind.at(WRITING));
        };
        let json = convert::to_hf(self, family);
        serde_json::to_string_pretty(&json).map_err(|source| ConfigErrorKind::Write(source).at(WRITING))
    }
}

/// The field of `generation_config.json` that is used.
#[derive(Deserialize)]
struct GenerationConfig {
    #[serde(default)]
    eos_token_id: Option<OneOrMany>,
}

/// Returns the tokens that end a text according to `generation_config.json`; an empty list if the file does not exist.
pub(crate) fn generation_eos_tokens(files: &Files) -> Result<Vec<u32>, ConfigError> {
    let json = match files.open(GENERATION).and_then(|file| read_limited(file, MAX_CONFIG_BYTES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        json => json.map_err(ConfigErrorKind::Io),
    };
    let config =
        json.and_then(|json| python_json(&json).and_then(GenerationConfig::deserialize).map_err(ConfigErrorKind::Json));
    let tokens = config.and_then(|config| match config.eos_token_id {
        Some(ids) => ids.into_tokens("eos_token_id"),
        None => Ok(Vec::new()),
    });
    tokens.map_err(|kind| kind.at(files.path_of(GENERATION).display().to_string()))
}
