//! Texts that controllers are measured on.

use crate::arguments::ModelArguments;
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
/// Each prompt begins like a text of its own: its first token is the special token that the tokenizer adds, if there is
/// one. Without a file, cuts the built-in text or, for the embedded model, returns problems with their answers, of any
/// length.
///
/// # Errors
/// If the file cannot be read, a length or the limit is zero, an item would be longer than the model's context, or the
/// text is too short for one item.
pub fn items(
    file: Option<&Path>,
    arguments: &ModelArguments,
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
        None if arguments.model.is_none() => return embedded::items(tokenizer, limit),
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
    let bos: Vec<u32> = arguments.bos(tokenizer)?.into_iter().collect();
    let item = |tokens: &[u32]| {
        let (rest, continuation) = tokens.split_at(prompt - bos.len());
        ScoreItem { prompt: [bos.as_slice(), rest].concat(), continuation: continuation.to_vec() }
    };
    let of_text = length - bos.len();
    let items: Vec<ScoreItem> = tokens.chunks_exact(of_text).take(limit).map(item).collect();
    if items.is_empty() {
        return Err(format!("the text has {} tokens; one item needs {of_text}", tokens.len()).into());
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
    use crate::arguments::tests::{END, with_bos};
    use crate::calibration;
    use dynlayer::model::{Backend, WeightDtype};
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
        let arguments = ModelArguments::embedded(Backend::Flex);
        let loaded = Loaded::open(&arguments, WeightDtype::F32, true).unwrap();
        let (_folder, file) = digits();
        let items = |prompt, continuation, limit| items(Some(&file), &arguments, &loaded, prompt, continuation, limit);
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
    fn every_item_and_every_piece_begins_like_a_text() {
        let mut arguments = ModelArguments::embedded(Backend::Flex);
        let loaded = Loaded::open(&arguments, WeightDtype::F32, true).unwrap();
        let loaded = Loaded { tokenizer: with_bos(), ..loaded };
        let (_folder, file) = digits();
        let text = loaded.tokenizer.encode(&read_text(&file).unwrap(), false).unwrap();
        let items =
            |arguments: &ModelArguments, prompt| items(Some(&file), arguments, &loaded, prompt, 5, 100).unwrap();
        let pieces = |arguments: &ModelArguments| {
            calibration::texts(Some(&file), arguments, &loaded.tokenizer, &loaded.model).unwrap()
        };
        let found = items(&arguments, 10);
        // Of each item's 15 tokens, 14 are the text's: none is lost to the special one.
        assert_eq!(found.len(), text.len() / 14);
        for (item, text) in found.iter().zip(text.chunks(14)) {
            assert_eq!((item.prompt[0], &item.prompt[1..], &item.continuation[..]), (END, &text[..9], &text[9..]));
        }
        assert!(items(&arguments, 1).iter().all(|item| item.prompt == [END]));
        for (piece, text) in pieces(&arguments).iter().zip(text.chunks(63)) {
            assert_eq!((piece[0], &piece[1..]), (END, text));
        }
        arguments.no_bos = true;
        assert_eq!(items(&arguments, 10)[0].prompt, text[..10]);
        assert_eq!(pieces(&arguments), text.chunks(64).collect::<Vec<_>>());
    }

    /// A file of 200 digits, in its folder.
    fn digits() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("digits.txt");
        fs::write(&file, "0123456789".repeat(20)).unwrap();
        (folder, file)
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
