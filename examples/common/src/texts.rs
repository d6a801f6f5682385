//! Texts that controllers are measured on.

use crate::{Loaded, embedded};
use dynlayer::inference::ScoreItem;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

/// The built-in evaluation text: a few hundred words of several kinds, none of them in the calibration text.
const BUILT_IN: &str = include_str!("evaluation.txt");

/// Reads a text file, or standard input if the file is `-`. A byte order mark is left out; all else stays as it is.
///
/// # Errors
/// If the file cannot be read, or is not UTF-8.
pub fn read_text(file: &Path) -> Result<String, String> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        ("standard input".to_owned(), io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    let text = text.map_err(|error| format!("{name}: cannot be read: {error}"))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Cuts a text file into at most `limit` consecutive items of `prompt` and `continuation` tokens, from its beginning.
/// Without a file, cuts the built-in text or, for the embedded model (no `model_path`), returns problems with their
/// answers, of any length.
///
/// # Errors
/// If the file cannot be read, a length or the limit is zero, an item would be longer than the model's context, or the
/// text is too short for one item.
pub fn items(
    file: Option<&Path>,
    model_path: Option<&Path>,
    loaded: &Loaded,
    prompt: usize,
    continuation: usize,
    limit: usize,
) -> Result<Vec<ScoreItem>, Box<dyn Error>> {
    let Loaded { tokenizer, model, .. } = loaded;
    if limit == 0 {
        return Err("at most 0 items; at least one is needed to measure anything".into());
    }
    let text = match file {
        Some(file) => read_text(file)?,
        None if model_path.is_none() => return embedded::items(tokenizer, limit),
        None => BUILT_IN.to_owned(),
    };
    if prompt == 0 || continuation == 0 {
        return Err("prompts and continuations need at least one token each".into());
    }
    let (length, context) = (prompt.saturating_add(continuation), model.config().max_positions);
    if length > context {
        return Err(format!(
            "items of {prompt} + {continuation} tokens; the model's context holds {context}: ask for shorter ones"
        )
        .into());
    }
    // Tokenises only as much of a large text as the items need; a token is rarely longer than eight bytes.
    let wanted = limit.saturating_mul(length).saturating_mul(8);
    let end = (0..=wanted.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let tokens = tokenizer.encode(&text[..end], false)?;
    let item =
        |tokens: &[u32]| ScoreItem { prompt: tokens[..prompt].to_vec(), continuation: tokens[prompt..].to_vec() };
    let items: Vec<ScoreItem> = tokens.chunks_exact(length).take(limit).map(item).collect();
    if items.is_empty() {
        return Err(format!("the text has {} tokens; one item needs {length}", tokens.len()).into());
    }
    Ok(items)
}

/// The smallest and the largest of some numbers of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The smallest.
    pub min: usize,
    /// The largest.
    pub max: usize,
}

impl Lengths {
    /// The lengths of the items' prompts, and of their continuations; 0 if there are no items.
    pub fn of(items: &[ScoreItem]) -> (Self, Self) {
        let lengths = |length: fn(&ScoreItem) -> usize| {
            let (min, max) = (items.iter().map(length).min(), items.iter().map(length).max());
            Self { min: min.unwrap_or(0), max: max.unwrap_or(0) }
        };
        (lengths(|item| item.prompt.len()), lengths(|item| item.continuation.len()))
    }
}

/// Writes `9 to 14`, or one number if both are equal.
impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max } = self;
        if min == max { write!(f, "{min}") } else { write!(f, "{min} to {max}") }
    }
}

/// Says what was measured on: `8 items, prompts of 9 to 14 tokens, continuations of 3 to 9`.
pub fn described(items: &[ScoreItem]) -> String {
    let (prompts, continuations) = Lengths::of(items);
    format!("{} items, prompts of {prompts} tokens, continuations of {continuations}", items.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use dynlayer::model::WeightDtype;
    use std::fs;

    #[test]
    fn what_is_said_is_what_the_items_have() {
        let item = |prompt, continuation| ScoreItem { prompt: vec![1; prompt], continuation: vec![1; continuation] };
        let said = described(&[item(9, 4), item(14, 4)]);
        assert_eq!(said, "2 items, prompts of 9 to 14 tokens, continuations of 4");
        assert_eq!(Lengths::of(&[]), (Lengths::default(), Lengths::default()));
    }

    #[test]
    fn items_that_cannot_be_made_are_refused() {
        let loaded = Loaded::open(None, WeightDtype::F32, &Device::flex(), true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("digits.txt");
        fs::write(&file, "0123456789".repeat(20)).unwrap();
        let items =
            |prompt, continuation, limit| items(Some(file.as_path()), None, &loaded, prompt, continuation, limit);
        assert_eq!(items(10, 5, 3).unwrap().len(), 3);
        for (prompt, continuation, limit, expected) in [
            (10, 5, 0, "0 items"),
            (0, 5, 3, "at least one token"),
            (60, 5, 3, "60 + 5 tokens; the model's context holds 64"),
            (usize::MAX, 5, 3, "the model's context holds 64"),
        ] {
            let error = items(prompt, continuation, limit).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_text_is_read_as_it_is_but_for_its_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        fs::write(&file, "\u{feff} one\r\ntwo\n").unwrap();
        assert_eq!(read_text(&file).unwrap(), " one\r\ntwo\n");
        fs::write(&file, [0xff]).unwrap();
        assert!(read_text(&file).unwrap_err().contains("text: cannot be read: stream did not contain valid UTF-8"));
    }
}
