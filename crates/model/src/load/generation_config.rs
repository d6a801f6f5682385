//! What `generation_config.json` adds to the configuration.

use super::LoadError;
use crate::files::{Files, read_limited};
use serde::Deserialize;
use std::io::ErrorKind;

const NAME: &str = "generation_config.json";

/// The most bytes that are read; real files have less than a kilobyte.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Deserialize)]
struct GenerationConfig {
    #[serde(default)]
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

/// The tokens that end a text; none if there is no such file.
///
/// # Errors
/// If the file is there and cannot be read.
pub(super) fn eos_tokens(files: &Files) -> Result<Vec<u32>, LoadError> {
    let path = files.path_of(NAME);
    let json = match files.open(NAME).and_then(|file| read_limited(file, MAX_BYTES)) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LoadError::Io { path, source }),
    };
    let config: GenerationConfig = serde_json::from_slice(&json).map_err(|source| LoadError::Json { path, source })?;
    Ok(match config.eos_token_id {
        None => Vec::new(),
        Some(OneOrMany::One(token)) => vec![token],
        Some(OneOrMany::Many(tokens)) => tokens,
    })
}
