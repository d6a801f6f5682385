//! Texts to measure on.

use crate::embedded;
use dynlayer::inference::ScoreItem;
use dynlayer::model::text::Tokenizer;
use std::error::Error;
use std::path::Path;

/// A few hundred words of different kinds; other ones than those that calibrate.
const BUILT_IN: &str = include_str!("evaluation.txt");

/// Cuts a text file, or without one the built-in text, into at most `limit` items of `prompt` and `continuation` tokens, one after
/// another from the beginning. For the embedded model, in `folder`, the built-in items are problems with their answers,
/// whatever their length.
pub fn items(
    file: Option<&Path>,
    folder: &Path,
    tokenizer: &Tokenizer,
    prompt: usize,
    continuation: usize,
    limit: usize,
) -> Result<Vec<ScoreItem>, Box<dyn Error>> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None if embedded::is_embedded(folder) => return embedded::items(tokenizer, limit),
        None => BUILT_IN.to_owned(),
    };
    if prompt == 0 || continuation == 0 {
        return Err("prompts and continuations need at least one token each".into());
    }
    // Whole texts of a corpus need not be tokenised for a few items; a token is rarely longer than eight bytes.
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
