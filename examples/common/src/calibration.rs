//! Text that controllers are calibrated on.

use crate::embedded;
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use std::error::Error;
use std::path::Path;

/// A little of everything, written for this purpose.
const BUILT_IN: &str = include_str!("calibration.txt");

/// Tokens of a piece at most: long enough for attention to have something to look at.
const PIECE: usize = 256;
/// Tokens in all at most; what comes after them is not used.
const LIMIT: usize = 4096;

/// The token ids of a text file, in pieces; without one of the built-in text, or of problems if `folder` is the embedded
/// model's.
pub fn texts(
    file: Option<&Path>,
    folder: &Path,
    tokenizer: &Tokenizer,
    model: &Llama,
) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let text = match file {
        None if embedded::is_embedded(folder) => return embedded::calibration(tokenizer),
        None => BUILT_IN.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let mut ids = tokenizer.encode(&text, false)?;
    ids.truncate(LIMIT);
    if ids.is_empty() {
        let file = file.map_or_else(String::new, |path| path.display().to_string());
        return Err(format!("{file}: no text to calibrate on").into());
    }
    Ok(ids.chunks(PIECE.min(model.config().max_positions)).map(<[u32]>::to_vec).collect())
}
