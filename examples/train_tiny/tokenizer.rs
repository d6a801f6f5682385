//! The tokenizer: a word for each task, and single characters.

use dynlayer::model::format::write_atomic;
use std::error::Error;
use std::path::Path;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::{AddedToken, SplitDelimiterBehavior, Tokenizer};

const END: &str = "<|end|>";
/// The token that ends an answer.
pub const END_ID: u32 = 0;
const UNKNOWN: &str = "<|unknown|>";

/// Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is created if it does not exist.
pub fn save(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let words = ["sort", "copy", "reverse", "count", "add", "follow"].map(str::to_owned);
    let characters = ('0'..='9').chain('A'..='J').chain(['=', '+', ',']).map(String::from);
    let tokens = [END.to_owned(), UNKNOWN.to_owned()].into_iter().chain(words).chain(characters);
    let vocabulary = (0..).zip(tokens).map(|(id, token)| (token, id)).collect();
    let model = WordLevel::builder().vocab(vocabulary).unk_token(UNKNOWN.to_owned()).build().map_err(text)?;
    let mut tokenizer = Tokenizer::new(model);
    // Words of small letters are tokens, and so is every other character; spaces are removed.
    let pattern = SplitPattern::Regex("[a-z]+|[^a-z\\s]".into());
    tokenizer.with_pre_tokenizer(Some(Split::new(pattern, SplitDelimiterBehavior::Removed, true).map_err(text)?));
    tokenizer.with_decoder(Some(Fuse::new()));
    tokenizer.add_special_tokens([AddedToken::from(END, true), AddedToken::from(UNKNOWN, true)]).map_err(text)?;
    let path = folder.join("tokenizer.json");
    write(&path, &tokenizer.to_string(true).map_err(text)?)?;
    let roles = serde_json::json!({"eos_token": END, "unk_token": UNKNOWN});
    write(&folder.join("tokenizer_config.json"), &format!("{roles:#}\n"))
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    Ok(write_atomic(path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
