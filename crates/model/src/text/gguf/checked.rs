//! Validation of a GGUF tokenizer's metadata.

use std::collections::HashMap;

use super::GgufTokenizerData;
use crate::text::decoding::byte_of_token;
use crate::text::error::TextErrorKind;

/// The largest number of tokens, so that a hostile file cannot cause a huge allocation.
const MAX_TOKENS: usize = 1 << 24;

/// The purpose of a token, from `tokenizer.ggml.token_type`; the numbers are those of llama.cpp's `llama_token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn of_number(number: i32) -> Option<Self> {
        match number {
            // 0 is "undefined", which llama.cpp treats as having no attribute.
            0 | 1 => Some(Self::Normal),
            2 => Some(Self::Unknown),
            3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            5 => Some(Self::Unused),
            6 => Some(Self::Byte),
            _ => None,
        }
    }
}

/// Validated metadata: it has as many kinds and scores as tokens, and no token twice.
pub(super) struct Checked {
    pub raw: GgufTokenizerData,
    pub kinds: Vec<Kind>,
    pub ids: HashMap<String, u32>,
}

impl Checked {
    pub(super) fn new(raw: GgufTokenizerData) -> Result<Self, TextErrorKind> {
        let count = raw.tokens.len();
        if !(1..=MAX_TOKENS).contains(&count) {
            return Err(TextErrorKind::invalid(
                "tokenizer.ggml.tokens",
                &format!("{count} tokens"),
                format!("1 to {MAX_TOKENS}"),
            ));
        }
        let lengths = [
            ("tokenizer.ggml.token_type", raw.token_types.as_ref().map(Vec::len)),
            ("tokenizer.ggml.scores", raw.scores.as_ref().map(Vec::len)),
        ];
        for (field, length) in lengths {
            if let Some(length) = length
                && length != count
            {
                let found = format!("a list of {length}");
                return Err(TextErrorKind::invalid(field, &found, format!("one entry per token, {count}")));
            }
        }
        let ids = ids(&raw.tokens)?;
        let kinds = kinds(&raw)?;
        Ok(Self { raw, kinds, ids })
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.raw.tokens.get(id as usize).map(String::as_str)
    }
}

fn ids(tokens: &[String]) -> Result<HashMap<String, u32>, TextErrorKind> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (id, token) in (0_u32..).zip(tokens) {
        if let Some(first) = ids.insert(token.clone(), id) {
            return Err(TextErrorKind::invalid(
                format!("tokenizer.ggml.tokens[{id}]"),
                &format!("{token:?}"),
                format!("a token that no other id has; {first} has the same"),
            ));
        }
    }
    Ok(ids)
}

fn kinds(raw: &GgufTokenizerData) -> Result<Vec<Kind>, TextErrorKind> {
    let Some(numbers) = &raw.token_types else {
        return Ok((0_u32..).zip(&raw.tokens).map(|(id, token)| guess(raw, id, token)).collect());
    };
    numbers
        .iter()
        .zip(&raw.tokens)
        .enumerate()
        .map(|(index, (number, token))| {
            let kind = Kind::of_number(*number).ok_or_else(|| {
                TextErrorKind::invalid(format!("tokenizer.ggml.token_type[{index}]"), number, "0 to 6")
            })?;
            if kind == Kind::Byte && byte_of_token(token).is_none() {
                return Err(TextErrorKind::invalid(
                    format!("tokenizer.ggml.tokens[{index}]"),
                    &format!("{token:?}"),
                    "<0x00> to <0xFF>, because its type is byte",
                ));
            }
            Ok(kind)
        })
        .collect()
}

/// Guesses the kind of a token for the oldest files, which have no token types.
fn guess(raw: &GgufTokenizerData, id: u32, token: &str) -> Kind {
    if raw.unk == Some(id) && raw.model == "llama" {
        Kind::Unknown
    } else if raw.bos == Some(id) || raw.eos == Some(id) {
        Kind::Control
    } else if raw.model == "llama" && byte_of_token(token).is_some() {
        Kind::Byte
    } else {
        Kind::Normal
    }
}
