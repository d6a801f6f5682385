//! Tokenizers from GGUF metadata.
//!
//! The result is the `tokenizers` pipeline that the model's `tokenizer.json` describes, so that a GGUF file and the
//! folder that it was made from give the same ids. The keys, the defaults for absent keys, the treatment of ids that no
//! token has, and the names of the pre-tokenizers are those of llama.cpp (`llama-vocab.cpp`).

mod bpe;
mod checked;
mod pre;
mod spm;

use tokenizers::AddedToken;

use self::checked::{Checked, Kind};
use super::error::{TextError, TextErrorKind};
use super::frame::set_frame;
use super::guard::guarded;
use super::special_tokens::{SpecialTokens, is_end};
use super::tokenizer::Tokenizer;
use crate::files::shorten;

/// The origin of the data in errors.
const ORIGIN: &str = "GGUF metadata";

/// The tokenizer keys of a GGUF file, unchecked; the caller fills them in from the file's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufTokenizerData {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (`SentencePiece`).
    pub model: String,
    /// `tokenizer.ggml.pre`: the name of the rule by which a byte-level BPE splits text before merging.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.token_type`.
    pub token_types: Option<Vec<i32>>,
    /// `tokenizer.ggml.scores`.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.merges`.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

impl GgufTokenizerData {
    /// Builds the tokenizer that the data describe.
    ///
    /// # Errors
    /// A model or pre-tokenizer that is not supported, lists of different lengths, a token that occurs twice, merges of
    /// unknown tokens, or a refusal of the `tokenizers` library. An id that no token has counts as absent.
    pub fn build(self) -> Result<Tokenizer, TextError> {
        guarded(ORIGIN, move || self.build_unguarded())
    }

    fn build_unguarded(mut self) -> Result<Tokenizer, TextErrorKind> {
        let is_spm = match self.model.as_str() {
            "llama" => true,
            "gpt2" => false,
            other => {
                return Err(TextErrorKind::Unsupported {
                    field: "tokenizer.ggml.model",
                    found: shorten(&other),
                    supported: "gpt2 (byte-level BPE), llama (SentencePiece BPE); without a tokenizer, the model still runs \
                                on token ids",
                });
            }
        };
        self.drop_unknown_ids(is_spm);
        if is_spm {
            self.assume_spm_ids();
        }
        let chat_template = self.chat_template.take();
        let data = Checked::new(self)?;
        let (mut library, add_bos_by_default) = if is_spm { (spm::build(&data)?, true) } else { bpe::build(&data)? };
        frame(&mut library, &data, add_bos_by_default)?;
        add_tokens(&mut library, &data)?;
        let text = |id: Option<u32>| id.and_then(|id| data.token(id)).map(str::to_owned);
        let roles = SpecialTokens {
            bos: text(data.raw.bos),
            eos: text(data.raw.eos),
            unk: text(data.raw.unk),
            pad: text(data.raw.pad),
        };
        Ok(Tokenizer::wrap(library)?.with_chat(roles, chat_template))
    }

    /// Drops ids that no token has. Where no other id is assumed, nothing is added to texts in their place.
    fn drop_unknown_ids(&mut self, is_spm: bool) {
        let count = self.tokens.len();
        let unknown = |id: Option<u32>| id.is_some_and(|id| usize::try_from(id).map_or(true, |id| id >= count));
        for (id, add) in [(&mut self.bos, &mut self.add_bos), (&mut self.eos, &mut self.add_eos)] {
            if unknown(*id) && !is_spm {
                *add = Some(false);
            }
        }
        for id in [&mut self.bos, &mut self.eos, &mut self.unk, &mut self.pad] {
            if unknown(*id) {
                *id = None;
            }
        }
    }

    /// Sets absent ids to those that llama.cpp assumes for `SentencePiece` models.
    fn assume_spm_ids(&mut self) {
        let count = self.tokens.len();
        let assume = |id: u32| Some(id).filter(|id| (*id as usize) < count);
        self.unk = self.unk.or(assume(0));
        self.bos = self.bos.or(assume(1));
        self.eos = self.eos.or(assume(2));
    }
}

/// Adds control and unknown tokens as special tokens, and user-defined tokens as ordinary added tokens. Encoding never
/// splits an added token.
///
/// Well-known ends of texts and turns are special even if the file does not say so, unless they may be markup in a text
/// (`</s>`).
fn add_tokens(library: &mut tokenizers::Tokenizer, data: &Checked) -> Result<(), TextErrorKind> {
    let tokens = data.raw.tokens.iter().zip(&data.kinds).filter_map(|(token, kind)| match kind {
        Kind::Control | Kind::Unknown => Some(AddedToken::from(token.clone(), true)),
        Kind::UserDefined if is_end(token) => Some(AddedToken::from(token.clone(), true)),
        // User-defined tokens are not normalized, since llama.cpp searches for them in the original text.
        Kind::UserDefined => Some(AddedToken::from(token.clone(), false).normalized(false)),
        Kind::Normal if is_end(token) && token.starts_with("<|") => Some(AddedToken::from(token.clone(), true)),
        Kind::Normal | Kind::Byte | Kind::Unused => None,
    });
    library.add_tokens(tokens).map_err(refused)?;
    Ok(())
}

/// Sets the tokens that encoding puts before and after a text.
fn frame(library: &mut tokenizers::Tokenizer, data: &Checked, add_bos_by_default: bool) -> Result<(), TextErrorKind> {
    let part = |add: bool, id: Option<u32>, field| -> Result<Option<(String, u32)>, TextErrorKind> {
        if !add {
            return Ok(None);
        }
        let token = id.and_then(|id| Some((data.token(id)?.to_owned(), id)));
        let missing = TextErrorKind::MissingField { field, expected: "the id of the token to add to every text" };
        token.map(Some).ok_or(missing)
    };
    let bos = part(data.raw.add_bos.unwrap_or(add_bos_by_default), data.raw.bos, "tokenizer.ggml.bos_token_id")?;
    let eos = part(data.raw.add_eos.unwrap_or(false), data.raw.eos, "tokenizer.ggml.eos_token_id")?;
    set_frame(library, bos, eos)
}

fn refused(source: Box<dyn std::error::Error + Send + Sync>) -> TextErrorKind {
    TextErrorKind::Library(source)
}
