//! What `generation_config.json` adds to the configuration.

use super::LoadError;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::Path;

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
pub(super) fn eos_tokens(folder: &Path) -> Result<Vec<u32>, LoadError> {
    let path = folder.join("generation_config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LoadError::Io { path, source }),
    };
    let config: GenerationConfig = serde_json::from_str(&text).map_err(|source| LoadError::Json { path, source })?;
    Ok(match config.eos_token_id {
        None => Vec::new(),
        Some(OneOrMany::One(token)) => vec![token],
        Some(OneOrMany::Many(tokens)) => tokens,
    })
}
