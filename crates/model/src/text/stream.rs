//! Streaming decoder: turns token ids into text as they arrive.

use super::decoding::{Decoding, byte_of_token, push_bytes};
use super::error::TextError;
use super::tokenizer::Tokenizer;
use std::ops::Deref;

/// A decoder that turns ids into text piece by piece, and never splits a character.
///
/// The text goes on after another, as an answer does after its prompt: a space at its start stays. The pieces of
/// [`push`](Self::push) and [`finish`](Self::finish) together are exactly what [`Tokenizer::decode_continuation`] gives
/// for all ids at once. The time is linear in the number of ids: with byte-level tokenizers each id is decoded once,
/// and with others a window of the last pieces is decoded again for every id.
///
/// The library's own `DecodeStream` differs: it drops pending text at the end, decodes a growing window as long as the
/// text ends in U+FFFD, returns text that a longer run of byte tokens makes invalid, and then fails with "Invalid
/// prefix".
///
/// With byte fallback (`SentencePiece`) a run of byte tokens is held back until a token of another kind ends it.
///
/// `T` is a reference to the tokenizer, borrowed or shared: `&Tokenizer`, `Arc<Tokenizer>`.
#[derive(Clone, Debug)]
pub struct StreamDecoder<T> {
    tokenizer: T,
    skip_special: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Bytes { pending: Vec<u8> },
    Window(Window),
}

/// The ids of the last two pieces.
///
/// The text of `ids[..given]` has been returned already. Those ids are kept as context of the next piece, because
/// decoders treat the first token of a text differently.
#[derive(Clone, Debug)]
struct Window {
    ids: Vec<u32>,
    given: usize,
    byte_runs: bool,
    may_split: bool,
}

/// The number of ids after which a text is returned even if it still ends in U+FFFD. A character has at most four
/// bytes, so after this many ids it is not incomplete but invalid.
const LONGEST_SPLIT: usize = 8;

impl<T: Deref<Target = Tokenizer>> StreamDecoder<T> {
    /// Makes a decoder for one text. With `skip_special`, special tokens are left out of the text.
    #[must_use]
    pub fn new(tokenizer: T, skip_special: bool) -> Self {
        let state = match tokenizer.decoding() {
            Decoding::Bytes => State::Bytes { pending: Vec::new() },
            Decoding::Text { byte_runs, may_split } => {
                let ids: Vec<u32> = tokenizer.anchor().into_iter().collect();
                State::Window(Window { given: ids.len(), ids, byte_runs, may_split })
            }
        };
        Self { tokenizer, skip_special, state }
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Takes the next id, and returns the text that it completes, if any.
    ///
    /// # Errors
    /// The tokenizer's decoder fails. Ids that the tokenizer does not know have no text, as in [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TextError> {
        if self.skip_special && self.tokenizer.is_special(id) {
            return Ok(None);
        }
        let Some(token) = self.tokenizer.id_to_token(id) else { return Ok(None) };
        match &mut self.state {
            State::Bytes { pending } => {
                push_bytes(&token, pending);
                Ok(some(take_complete(pending)))
            }
            State::Window(window) => {
                window.ids.push(id);
                if window.byte_runs && byte_of_token(&token).is_some() {
                    return Ok(None);
                }
                window.advance(&self.tokenizer, false)
            }
        }
    }

    /// Ends the text, and returns the rest that was held back. An incomplete character becomes U+FFFD.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn finish(self) -> Result<Option<String>, TextError> {
        match self.state {
            State::Bytes { pending } => Ok(some(String::from_utf8_lossy(&pending).into_owned())),
            State::Window(mut window) => window.advance(&self.tokenizer, true),
        }
    }
}

impl Window {
    fn advance(&mut self, tokenizer: &Tokenizer, last: bool) -> Result<Option<String>, TextError> {
        // Skipped special tokens were never added to the window, so both calls keep all tokens.
        let before = tokenizer.decode(&self.ids[..self.given], false)?;
        let now = tokenizer.decode(&self.ids, false)?;
        if now.len() <= before.len() {
            return Ok(None);
        }
        let waits = self.may_split && now.ends_with('\u{FFFD}') && self.ids.len() - self.given < LONGEST_SPLIT;
        if waits && !last {
            return Ok(None);
        }
        // Only decoders that change text already returned (none of the supported families) take the second branch.
        let piece = match now.strip_prefix(&before) {
            Some(piece) => piece.to_owned(),
            None => now[common_prefix(&before, &now)..].to_owned(),
        };
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(some(piece))
    }
}

fn some(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

/// Returns the length in bytes of the longest common prefix of two texts that ends at a character boundary.
fn common_prefix(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// Removes and returns the text that later bytes cannot change, with invalid parts as U+FFFD. At most three bytes, of
/// an incomplete character, stay in `pending`.
fn take_complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut start = 0;
    while start < pending.len() {
        match std::str::from_utf8(&pending[start..]) {
            Ok(rest) => {
                text.push_str(rest);
                start = pending.len();
            }
            Err(error) => {
                let valid = start + error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&pending[start..valid]));
                start = valid;
                let Some(invalid) = error.error_len() else { break };
                text.push('\u{FFFD}');
                start += invalid;
            }
        }
    }
    pending.drain(..start);
    text
}

#[cfg(test)]
mod tests;
