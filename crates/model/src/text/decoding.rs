//! The kinds of decoders that need different treatment when a growing list of ids is decoded.

use tokenizers::DecoderWrapper;

/// The kind of a decoder, which decides how a growing list of ids is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoding {
    /// Every token is a string of bytes (GPT-2's alphabet). The text is their concatenation, as UTF-8.
    Bytes,
    /// Tokens are text, and the decoder's rules join them.
    Text {
        /// If `true`, some tokens stand for single bytes (`<0x0A>`). A run of them is decoded together: if the run is
        /// not UTF-8 as a whole, every byte of it becomes a replacement character.
        byte_runs: bool,
        /// If `true`, a token may hold a part of a character, which decodes to a replacement character until the rest
        /// has arrived.
        may_split: bool,
    },
}

impl Decoding {
    pub(super) fn of(decoder: Option<&DecoderWrapper>) -> Self {
        let Some(decoder) = decoder else { return Self::Text { byte_runs: false, may_split: false } };
        if matches!(decoder, DecoderWrapper::ByteLevel(_)) {
            return Self::Bytes;
        }
        // A sequence keeps its parts private, but its JSON shows them. A decoder that cannot be written as JSON is
        // assumed to have every part.
        let json = serde_json::to_string(decoder);
        let has = |part: &str| json.as_ref().map_or(true, |json| json.contains(part));
        Self::Text { byte_runs: has("\"ByteFallback\""), may_split: has("\"ByteLevel\"") }
    }
}

/// Returns the byte that a token like `<0x0A>` stands for, by the rules of the library.
pub(super) fn byte_of_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// Appends the bytes that a token of GPT-2's alphabet stands for.
///
/// A token with any character outside the alphabet (an added token) stands for its own UTF-8, as in the library.
pub(super) fn push_bytes(token: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for c in token.chars() {
        let Some(byte) = byte_of_char(c) else {
            bytes.truncate(start);
            bytes.extend_from_slice(token.as_bytes());
            return;
        };
        bytes.push(byte);
    }
}

/// Returns the byte that a character stands for in GPT-2's alphabet: printable Latin-1 characters stand for themselves,
/// and the characters from U+0100 on for the other 68 bytes, in order.
fn byte_of_char(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_a_bijection_onto_bytes() {
        let mut seen: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of_char).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of_char('Ġ'), Some(b' '));
        assert_eq!(byte_of_char('Ċ'), Some(b'\n'));
    }

    #[test]
    fn byte_tokens_have_two_digits() {
        assert_eq!(byte_of_token("<0x0A>"), Some(10));
        assert_eq!(byte_of_token("<0xA>"), None);
        assert_eq!(byte_of_token("<0x0A"), None);
    }
}
