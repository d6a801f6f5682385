//! Texts that controllers are calibrated on.

use crate::arguments::ModelArguments;
use crate::{embedded, read_text};
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use std::error::Error;
use std::path::Path;

/// The built-in calibration text: prose, instructions, dialogue, code and questions.
const BUILT_IN: &str = include_str!("calibration.txt");

/// The largest number of tokens of a piece, enough for attention to reach far back.
const PIECE: usize = 256;
/// The largest number of tokens in total; the rest of a text is not used.
const LIMIT: usize = 4096;

/// Returns the token ids of a text file, in pieces of at most 256 tokens, each of which begins like a text of its own:
/// with the special token that the tokenizer adds, if there is one. Without a file, returns those of the built-in text
/// or, for the embedded model, of problems of its tasks.
///
/// # Errors
/// If the file cannot be read or holds no token.
pub fn texts(
    file: Option<&Path>,
    arguments: &ModelArguments,
    tokenizer: &Tokenizer,
    model: &Llama,
) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let text = match file {
        None if arguments.model.is_none() => return embedded::calibration(tokenizer),
        None => BUILT_IN.to_owned(),
        Some(path) => read_text(path)?,
    };
    let mut ids = tokenizer.encode(&text, false)?;
    ids.truncate(LIMIT);
    if ids.is_empty() {
        let file = file.map_or_else(String::new, |path| path.display().to_string());
        return Err(format!("{file}: no text to calibrate on").into());
    }
    let bos: Vec<u32> = arguments.bos(tokenizer)?.into_iter().collect();
    let of_text = PIECE.min(model.config().max_positions).saturating_sub(bos.len()).max(1);
    Ok(ids.chunks(of_text).map(|piece| [bos.as_slice(), piece].concat()).collect())
}
