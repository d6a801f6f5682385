//! The tokenizer files of a Hugging Face folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer as Library};

use super::error::{TextError, TextErrorKind};
use super::frame::set_frame;
use super::guard::guarded;
use super::special_tokens::SpecialTokens;
use super::tokenizer::Tokenizer;
use crate::files::{Files, read_limited, shorten};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// The files of tokenizers in other forms.
const OTHER_FORMS: [&str; 3] = ["tokenizer.model", "tekken.json", "vocab.json"];

/// The largest number of bytes of a file that are read; the largest real tokenizers have some 40 MB.
const MAX_BYTES: u64 = 512 << 20;

/// The fields of `tokenizer_config.json` and `special_tokens_map.json` that are used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HfTokenizerConfig {
    bos_token: Option<HfToken>,
    eos_token: Option<HfToken>,
    unk_token: Option<HfToken>,
    pad_token: Option<HfToken>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    /// Added tokens, by their ids as text.
    added_tokens_decoder: BTreeMap<String, AddedToken>,
    chat_template: Option<HfChatTemplate>,
}

/// A token, written as text or as an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum HfToken {
    Text(String),
    Object { content: String },
}

impl HfToken {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// One template, or several with names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum HfChatTemplate {
    One(String),
    Named(Vec<HfNamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct HfNamedTemplate {
    name: String,
    template: String,
}

/// Reads a file of bounded size.
fn read(reader: io::Result<impl Read>, path: &Path) -> Result<Vec<u8>, TextError> {
    let bytes = reader.and_then(|reader| read_limited(reader, MAX_BYTES));
    let bytes = bytes.map_err(|source| TextErrorKind::Io(source).at(path.display().to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TextErrorKind::TooLarge { limit: MAX_BYTES }.at(path.display().to_string()));
    }
    Ok(bytes)
}

fn read_optional(files: &Files, name: &str) -> Result<Option<Vec<u8>>, TextError> {
    match files.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        reader => read(reader, &files.path_of(name)).map(Some),
    }
}

fn read_config(files: &Files, name: &str) -> Result<HfTokenizerConfig, TextError> {
    let Some(bytes) = read_optional(files, name)? else { return Ok(HfTokenizerConfig::default()) };
    let json = |source| TextErrorKind::Json(source).at(files.path_of(name).display().to_string());
    // Of repeated keys in a `Value`, the last one counts, as in Python. A struct would refuse them.
    serde_json::from_value(serde_json::from_slice::<Value>(&bytes).map_err(json)?).map_err(json)
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The file cannot be read, or one of the errors of [`from_json`](Self::from_json).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        Self::from_json(&read(File::open(path), path)?, &path.display().to_string())
    }

    /// Reads the tokenizer of a Hugging Face folder.
    ///
    /// `tokenizer.json` must exist. `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` are
    /// optional, and supply added tokens, special tokens and the chat template. `add_bos_token` and `add_eos_token` of
    /// `tokenizer_config.json` override what `tokenizer.json` adds to every text.
    ///
    /// # Errors
    /// A file cannot be read or is malformed, the files contradict each other, or the tokenizer is there in another
    /// form only ([`TextErrorKind::NeedsConversion`]).
    pub fn from_hf_folder(folder: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::from_hf_files(&Files::Folder(folder.as_ref().to_path_buf()))
    }

    /// Reads the tokenizer as [`from_hf_folder`](Self::from_hf_folder) does, from files that may be in memory.
    pub(crate) fn from_hf_files(files: &Files) -> Result<Self, TextError> {
        let path = files.path_of(TOKENIZER);
        let reader = files.open(TOKENIZER);
        if reader.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            && let Some(found) = OTHER_FORMS.into_iter().find(|name| files.open(name).is_ok())
        {
            return Err(TextErrorKind::NeedsConversion { found }.at(path.display().to_string()));
        }
        let mut tokenizer = Self::from_json(&read(reader, &path)?, &path.display().to_string())?;
        let mut config = read_config(files, CONFIG)?;
        let map = read_config(files, "special_tokens_map.json")?;
        let origin = files.path_of(CONFIG).display().to_string();

        let roles = SpecialTokens {
            bos: config.bos_token.or(map.bos_token).map(HfToken::into_text),
            eos: config.eos_token.or(map.eos_token).map(HfToken::into_text),
            unk: config.unk_token.or(map.unk_token).map(HfToken::into_text),
            pad: config.pad_token.or(map.pad_token).map(HfToken::into_text),
        };
        guarded(&origin, || {
            add_tokens(tokenizer.library_mut(), std::mem::take(&mut config.added_tokens_decoder))?;
            mark_special(tokenizer.library_mut(), &roles)
        })?;
        tokenizer.collect_special();
        frame(&mut tokenizer, &roles, [config.add_bos_token, config.add_eos_token], &origin)?;

        let template = match read_optional(files, TEMPLATE)? {
            // A separate file takes precedence, as in transformers.
            Some(bytes) => Some(String::from_utf8(bytes).map_err(|error| {
                TextErrorKind::invalid("byte", &error.utf8_error().valid_up_to(), "UTF-8 text")
                    .at(files.path_of(TEMPLATE).display().to_string())
            })?),
            None => config.chat_template.and_then(default_template),
        };
        Ok(tokenizer.with_chat(roles, template))
    }
}

/// Makes encoding add the tokens that the configuration wants around every text, where it differs from
/// `tokenizer.json`: one at the start, one at the end. A wish for a token that the tokenizer lacks counts for nothing.
fn frame(
    tokenizer: &mut Tokenizer,
    roles: &SpecialTokens,
    wanted: [Option<bool>; 2],
    origin: &str,
) -> Result<(), TextError> {
    let [want_start, want_end] = wanted;
    if want_start.is_none() && want_end.is_none() {
        return Ok(());
    }
    let token = |text: Option<&String>| text.and_then(|text| Some((text.clone(), tokenizer.token_to_id(text)?)));
    let (bos, eos) = (token(roles.bos.as_ref()), token(roles.eos.as_ref()));
    let around = tokenizer.encode("", true)?;
    let starts = bos.as_ref().is_some_and(|(_, id)| around.first() == Some(id));
    let ends = eos.as_ref().is_some_and(|(_, id)| around.len() > usize::from(starts) && around.last() == Some(id));
    let start = bos.as_ref().and(want_start).unwrap_or(starts);
    let end = eos.as_ref().and(want_end).unwrap_or(ends);
    if (start, end) == (starts, ends) {
        return Ok(());
    }
    let (bos, eos) = (bos.filter(|_| start), eos.filter(|_| end));
    guarded(origin, || set_frame(tokenizer.library_mut(), bos, eos))
}

fn default_template(template: HfChatTemplate) -> Option<String> {
    match template {
        HfChatTemplate::One(template) => Some(template),
        HfChatTemplate::Named(named) => {
            named.into_iter().find(|entry| entry.name == "default").map(|entry| entry.template)
        }
    }
}

/// Adds the tokens that only `tokenizer_config.json` lists; tokens that both files list must have the same id.
fn add_tokens(library: &mut Library, tokens: BTreeMap<String, AddedToken>) -> Result<(), TextErrorKind> {
    let mut by_id = BTreeMap::new();
    for (id, token) in tokens {
        let Ok(id) = id.parse::<u32>() else {
            return Err(TextErrorKind::invalid("added_tokens_decoder", &id, "ids as keys"));
        };
        by_id.insert(id, token);
    }
    // Tokens are added in the order of their ids, since the library gives new tokens the next free id.
    for (id, token) in by_id {
        let known = library.get_added_tokens_decoder().get(&id) == Some(&token);
        if known || token.content.is_empty() {
            continue;
        }
        let content = token.content.clone();
        library.add_tokens([token]).map_err(TextErrorKind::Library)?;
        let given = library.token_to_id(&content);
        if given != Some(id) {
            return Err(TextErrorKind::invalid(
                format!("added_tokens_decoder.{id}"),
                &shorten(&content),
                format!("the token that has the id {id} in tokenizer.json; this token has the id {given:?} there"),
            ));
        }
    }
    Ok(())
}

/// Marks the tokens with a role as special, as transformers does, unless `tokenizer.json` lists them as added tokens.
fn mark_special(library: &mut Library, roles: &SpecialTokens) -> Result<(), TextErrorKind> {
    for token in [&roles.bos, &roles.eos, &roles.unk, &roles.pad].into_iter().flatten() {
        let Some(id) = library.token_to_id(token) else { continue };
        if !library.get_added_tokens_decoder().contains_key(&id) {
            let special = AddedToken::from(token.clone(), true);
            library.add_special_tokens([special]).map_err(TextErrorKind::Library)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
