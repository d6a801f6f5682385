//! The tokenizer.

use std::collections::HashSet;

use super::chat::ChatTemplate;
use super::decoding::{Decoding, byte_of_token};
use super::error::{TextError, TextErrorKind};
use super::guard::guarded;
use super::precheck::precheck;
use super::special_tokens::{SpecialTokens, is_end};
use crate::digest::Digest;

/// A tokenizer, which turns text into token ids and back.
///
/// Truncation and padding settings of a `tokenizer.json` are ignored, because they would change prompts.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special_ids: HashSet<u32>,
    decoding: Decoding,
    /// A token of plain text that is put before ids that go on after another text, when they are decoded; `None` if the
    /// decoder treats the start of a text like the rest.
    anchor: Option<u32>,
    roles: SpecialTokens,
    chat_template: Option<String>,
}

impl Tokenizer {
    /// Reads the text of a `tokenizer.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// Text that is not JSON, a tokenizer that the library refuses, merges or added tokens that contradict the
    /// vocabulary.
    pub fn from_json(json: &[u8], origin: &str) -> Result<Self, TextError> {
        guarded(origin, || Self::parse(json))
    }

    fn parse(json: &[u8]) -> Result<Self, TextErrorKind> {
        let parsed: serde_json::Value = serde_json::from_slice(json)?;
        precheck(&parsed)?;
        let inner = tokenizers::Tokenizer::from_bytes(json).map_err(TextErrorKind::Library)?;
        // The library gives an added token the next free id, even if the file names a different one.
        for added in parsed["added_tokens"].as_array().into_iter().flatten() {
            let (Some(content), id) = (added["content"].as_str(), added["id"].as_u64()) else { continue };
            if inner.token_to_id(content).map(u64::from) != id {
                return Err(TextErrorKind::invalid(
                    "added_tokens.id",
                    &format!("{} for {content:?}", added["id"]),
                    "the id of that token in the vocabulary, or the next free one",
                ));
            }
        }
        Self::wrap(inner)
    }

    /// Wraps a tokenizer built with the `tokenizers` library; `origin` names it in errors.
    ///
    /// # Errors
    /// The tokenizer has no tokens, or the library fails.
    pub fn from_library(inner: tokenizers::Tokenizer, origin: &str) -> Result<Self, TextError> {
        guarded(origin, move || Self::wrap(inner))
    }

    pub(super) fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, TextErrorKind> {
        inner.with_truncation(None).map_err(TextErrorKind::Library)?;
        inner.with_padding(None);
        if inner.get_vocab_size(true) == 0 {
            return Err(TextErrorKind::invalid("model.vocab", &"empty", "at least one token"));
        }
        let decoding = Decoding::of(inner.get_decoder());
        let mut tokenizer = Self {
            inner,
            special_ids: HashSet::new(),
            decoding,
            anchor: None,
            roles: SpecialTokens::default(),
            chat_template: None,
        };
        tokenizer.collect_special();
        Ok(tokenizer)
    }

    /// Encodes a text as token ids.
    ///
    /// With `add_special`, the special tokens that the tokenizer puts around a text are added (for most models, one
    /// that starts it). Pass `false` for a rendered chat template, which contains them already. Special tokens that are
    /// written out in the text, such as `<|im_start|>`, become their ids in both cases.
    ///
    /// # Errors
    /// The tokenizer fails, for instance because its unknown token is not in its vocabulary.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        guarded("encoding a text", || {
            let encoding = self.inner.encode_fast(text, add_special).map_err(TextErrorKind::Library)?;
            Ok(encoding.get_ids().to_vec())
        })
    }

    /// Decodes token ids to a text of its own. With `skip_special`, special tokens are left out.
    ///
    /// Ids that the tokenizer does not know have no text (models pad their vocabulary).
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        guarded("decoding token ids", || self.inner.decode(ids, skip_special).map_err(TextErrorKind::Library))
    }

    /// Decodes token ids that go on after others, such as an answer after its prompt.
    ///
    /// The decoders of `SentencePiece` models drop the space at the start of a text. Here it stays, since it is between
    /// the two texts: an answer that starts with `▁world` starts with a space.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode_continuation(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        let Some(anchor) = self.anchor else { return self.decode(ids, skip_special) };
        let whole = self.decode(&[&[anchor][..], ids].concat(), skip_special)?;
        let before = self.decode(&[anchor], skip_special)?;
        Ok(whole.strip_prefix(&before).unwrap_or(&whole).to_owned())
    }

    /// The number of tokens, including added ones.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the id of a token, given as it is spelled in the vocabulary.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Returns the token with an id, as it is spelled in the vocabulary.
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns `true` if an id is that of a special token, one that structures text and is not part of it.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// Returns a special token that is written out in a text, as it is spelled in the vocabulary; the one with the
    /// lowest id if there are several, and `None` if there is none.
    #[must_use]
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        let spelled = self.special_ids.iter().filter_map(|id| Some((*id, self.id_to_token(*id)?)));
        let written = spelled.filter(|(_, token)| !token.is_empty() && text.contains(token.as_str()));
        written.min_by_key(|(id, _)| *id).map(|(_, token)| token)
    }

    /// Checks that every token has a row in a model's embedding.
    ///
    /// The model may have more rows than there are tokens, since many models pad their vocabulary. Some tokenizers have
    /// a token more than the model, and work as long as it does not occur.
    ///
    /// # Errors
    /// [`TextErrorKind::Vocabulary`], naming the token with the highest id.
    pub fn check_vocab(&self, model_vocab: usize) -> Result<(), TextError> {
        let highest = self.inner.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        match highest {
            Some((token, id)) if usize::try_from(id).is_ok_and(|id| id >= model_vocab) => {
                Err(TextErrorKind::Vocabulary { token, id, model_vocab }.at("tokenizer"))
            }
            _ => Ok(()),
        }
    }

    /// The special tokens that the tokenizer's files name for a role, such as the start of a text.
    #[must_use]
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.roles
    }

    /// The id of the token that starts a text, if the tokenizer's files name one.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.roles.bos.as_deref().and_then(|token| self.token_to_id(token))
    }

    /// The id of the token that ends a text, if the tokenizer's files name one.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        self.roles.eos.as_deref().and_then(|token| self.token_to_id(token))
    }

    /// The ids of the tokens that end a text or a turn, in rising order: the one that the tokenizer's files name, and
    /// added tokens that do so in well-known models, such as `<|eot_id|>` and `<|im_end|>`.
    #[must_use]
    pub fn end_ids(&self) -> Vec<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let known = added.into_iter().filter(|(_, token)| is_end(&token.content)).map(|(id, _)| id);
        let mut ids: Vec<u32> = known.chain(self.eos_id()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The chat template that came with the tokenizer, ready to render; `None` if there is none.
    ///
    /// It is parsed by this method and not when the tokenizer is read, so that a tokenizer with an unsupported template
    /// can still be used.
    ///
    /// # Errors
    /// The template cannot be parsed.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, TextError> {
        self.chat_template.as_deref().map(|source| ChatTemplate::new(source, self.roles.clone())).transpose()
    }

    /// Sets the special tokens and the chat template, for example after [`from_library`](Self::from_library).
    #[must_use]
    pub fn with_chat(mut self, roles: SpecialTokens, template: Option<String>) -> Self {
        self.roles = roles;
        self.chat_template = template;
        self
    }

    /// Returns the digest of everything that texts and chats depend on: vocabulary and rules, special tokens, and the
    /// chat template.
    ///
    /// # Errors
    /// The library cannot write the tokenizer as JSON, or a token's id is 2^24 or more.
    pub fn digest(&self) -> Result<Digest, TextError> {
        // The library lists all ids that are missing below the highest one.
        self.check_vocab(1 << 24)?;
        guarded("writing a tokenizer as JSON", || {
            let rules = self.inner.to_string(false).map_err(TextErrorKind::Library)?;
            let SpecialTokens { bos, eos, unk, pad } = &self.roles;
            let chat = serde_json::to_vec(&(bos, eos, unk, pad, &self.chat_template))?;
            Ok(Digest::of([rules.as_bytes(), &chat]))
        })
    }

    pub(super) fn anchor(&self) -> Option<u32> {
        self.anchor
    }

    pub(super) fn decoding(&self) -> Decoding {
        self.decoding
    }

    pub(super) fn library_mut(&mut self) -> &mut tokenizers::Tokenizer {
        &mut self.inner
    }

    /// Collects what depends on the added tokens; must be called after every change of them.
    pub(super) fn collect_special(&mut self) {
        self.special_ids = self
            .inner
            .get_added_tokens_decoder()
            .into_iter()
            // The library is asked by text, as in decoding, because two ids may have the same text.
            .filter(|(_, token)| self.inner.get_added_vocabulary().is_special_token(&token.content))
            .map(|(id, _)| id)
            .collect();
        self.anchor = self.find_anchor();
    }

    /// Finds a token of plain text, which real vocabularies have right after the special tokens and the single bytes.
    fn find_anchor(&self) -> Option<u32> {
        const SEARCHED: u32 = 1 << 12;
        if self.decoding == Decoding::Bytes {
            return None;
        }
        let end = u32::try_from(self.vocab_size()).map_or(SEARCHED, |size| size.min(SEARCHED));
        (0..end).find(|id| {
            let is_byte = self.id_to_token(*id).is_some_and(|token| byte_of_token(&token).is_some());
            let is_plain = |text: &str| !text.is_empty() && !text.contains('\u{FFFD}');
            !is_byte && !self.is_special(*id) && self.decode(&[*id], false).is_ok_and(|text| is_plain(&text))
        })
    }
}
