//! The growing text of a sequence, and the strings that end it.

use super::{GenerateError, Stop};
use crate::shared::Shared;
use dynlayer_model::text::{StreamDecoder, Tokenizer};
use std::sync::Arc;

/// Decodes tokens, and holds back text that may be the beginning of a stop string.
#[derive(Clone, Debug)]
pub(super) struct TextStream<'a> {
    /// `None` once the sequence has ended.
    decoder: Option<StreamDecoder<Shared<'a, Tokenizer>>>,
    filter: StopFilter,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: Shared<'a, Tokenizer>, stops: &[String]) -> Self {
        let decoder = Some(StreamDecoder::new(tokenizer, true));
        Self { decoder, filter: StopFilter { held: String::new(), stops: stops.into() } }
    }

    /// Replaces the stop strings.
    pub(super) fn set_stops(&mut self, stops: &[String]) {
        self.filter.stops = stops.into();
    }

    /// Adds a token, after which the sequence ends if there is a `stop`. Returns the new text, and the reason why the
    /// sequence ends, stop strings included.
    pub(super) fn token(&mut self, token: u32, stop: Option<Stop>) -> Result<(String, Option<Stop>), GenerateError> {
        let stop = match stop {
            Some(Stop::Token(_)) => stop,
            _ => self.named(token).map(Stop::String).or(stop),
        };
        let (mut text, mut found) = (String::new(), None);
        if !matches!(stop, Some(Stop::Token(_))) {
            (text, found) = self.push(token)?;
        }
        if stop.is_some() && found.is_none() {
            let (rest, late) = self.finish()?;
            text.push_str(&rest);
            found = late;
        }
        Ok((text, found.map(Stop::String).or(stop)))
    }

    /// The stop string that is this token's spelling, if it is a special token: those have no text to find it in.
    fn named(&self, token: u32) -> Option<String> {
        let tokenizer = self.decoder.as_ref()?.tokenizer();
        let spelling = tokenizer.is_special(token).then(|| tokenizer.id_to_token(token)).flatten()?;
        self.filter.stops.contains(&spelling).then_some(spelling)
    }

    /// Adds a token. Returns the new text that cannot be part of a stop string, and the stop string that the token
    /// completes, if any.
    fn push(&mut self, token: u32) -> Result<(String, Option<String>), GenerateError> {
        let piece = match &mut self.decoder {
            Some(decoder) => decoder.push(token)?,
            None => None,
        };
        Ok(self.filter.push(&piece.unwrap_or_default()))
    }

    /// Ends a sequence in which no stop string was found. Returns the remaining text, and a stop string if the last
    /// characters, which the decoder held back until now, complete one.
    pub(super) fn finish(&mut self) -> Result<(String, Option<String>), GenerateError> {
        let piece = self.decoder.take().map(StreamDecoder::finish).transpose()?.flatten();
        let (mut text, stop) = self.filter.push(&piece.unwrap_or_default());
        if stop.is_none() {
            text.push_str(&std::mem::take(&mut self.filter.held));
        }
        Ok((text, stop))
    }
}

/// Finds stop strings in text that comes in pieces.
#[derive(Clone, Debug)]
struct StopFilter {
    /// Text that may be the beginning of a stop string.
    held: String,
    stops: Arc<[String]>,
}

impl StopFilter {
    /// Adds a piece. Returns the text up to the first stop string or possible beginning of one, and the stop string, if
    /// any.
    fn push(&mut self, piece: &str) -> (String, Option<String>) {
        self.held.push_str(piece);
        // Takes the stop string that begins first, and the longest of those that begin at the same place, so that the
        // order of the options has no effect.
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)));
        if let Some((at, stop)) = found.min_by_key(|(at, stop)| (*at, std::cmp::Reverse(stop.len()))) {
            let stop = stop.clone();
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), Some(stop));
        }
        let doubtful = (self.held.char_indices().map(|(at, _)| at))
            .find(|at| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..])))
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(doubtful);
        (std::mem::replace(&mut self.held, rest), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let mut filter = StopFilter { held: String::new(), stops: stops.iter().map(ToString::to_string).collect() };
        let mut out = Vec::new();
        for piece in pieces {
            let (text, stop) = filter.push(piece);
            out.push(text);
            if stop.is_some() {
                return (out, stop);
            }
        }
        out.push(filter.held);
        (out, None)
    }

    #[test]
    fn a_stop_string_across_pieces_is_cut_off() {
        let (out, stop) = run(&["\n\nQ:"], &["yes", "\n", "\nQ", ": no"]);
        assert_eq!(out, ["yes", "", "", ""]);
        assert_eq!(stop.as_deref(), Some("\n\nQ:"));
    }

    #[test]
    fn what_was_held_back_for_nothing_comes_out() {
        let (out, stop) = run(&["abc"], &["xab", "d", "é"]);
        assert_eq!(out, ["x", "abd", "é", ""]);
        assert_eq!(stop, None);
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{1,3}", 0..3),
        ) {
            let whole = pieces.concat();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (out, stop) = run(&stops, &pieces);
            let first = stops.iter().filter_map(|s| whole.find(s)).min();
            match stop {
                // The stop string that is complete first wins, since the text after it has not arrived yet.
                Some(stop) => prop_assert!(whole.starts_with(&(out.concat() + &stop))),
                None => {
                    prop_assert_eq!(first, None);
                    prop_assert_eq!(out.concat(), whole);
                }
            }
        }
    }
}
