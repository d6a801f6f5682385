//! Texts that controllers are measured on.

use crate::embedded;
use dynlayer::inference::ScoreItem;
use dynlayer::model::text::Tokenizer;
use std::error::Error;
use std::path::Path;

/// The built-in evaluation text: a few hundred words of several kinds, none of them in the calibration text.
const BUILT_IN: &str = include_str!("evaluation.txt");

/// Cuts a text file into at most `limit` consecutive items of `prompt` and `continuation` tokens, from its beginning.
/// Without a file, cuts the built-in text or, for the embedded model (no `model_path`), returns problems with their
/// answers, of any length.
///
/// # Errors
/// If the file cannot be read, a length is zero, or the text is too short for one item.
pub fn items(
    file: Option<&Path>,
    model_path: Option<&Path>,
    tokenizer: &Tokenizer,
    prompt: usize,
    continuation: usize,
    limit: usize,
) -> Result<Vec<ScoreItem>, Box<dyn Error>> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None if model_path.is_none() => return embedded::items(tokenizer, limit),
        None => BUILT_IN.to_owned(),
    };
    if prompt == 0 || continuation == 0 {
        return Err("prompts and continuations need at least one token each".into());
    }
    // Tokenises only as much of a large text as the items need; a token is rarely longer than eight bytes.
    let wanted = limit.saturating_mul(prompt + continuation).saturating_mul(8);
    let end = (0..=wanted.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let tokens = tokenizer.encode(&text[..end], false)?;
    let item =
        |tokens: &[u32]| ScoreItem { prompt: tokens[..prompt].to_vec(), continuation: tokens[prompt..].to_vec() };
    let items: Vec<ScoreItem> = tokens.chunks_exact(prompt + continuation).take(limit).map(item).collect();
    if items.is_empty() {
        return Err(format!("the text has {} tokens; one item needs {}", tokens.len(), prompt + continuation).into());
    }
    Ok(items)
}
