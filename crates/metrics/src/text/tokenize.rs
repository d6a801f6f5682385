//! The default tokenizer of rouge-score.

use super::porter;

/// Largest length of a word that is not stemmed.
const UNSTEMMED: usize = 3;

/// Calls `each` with every token of a text, as `rouge_score.tokenize` 0.1.2 splits it.
///
/// Tokens are runs of a-z and 0-9 of the lower-cased text. With `stem`, tokens of more than three characters are
/// stemmed. All other characters separate tokens, including letters with accents. Lower-casing comes first, so that the
/// Kelvin sign becomes a k and a dotted capital I an i.
pub(super) fn each_token(text: &str, stem: bool, mut each: impl FnMut(&[u8])) {
    let mut token = Vec::new();
    let mut end = |token: &mut Vec<u8>| {
        if token.is_empty() {
            return;
        }
        if stem && token.len() > UNSTEMMED {
            porter::stem(token);
        }
        if !token.is_empty() {
            each(token);
        }
        token.clear();
    };
    let mut add = |character: char, token: &mut Vec<u8>| match u8::try_from(character) {
        Ok(byte) if byte.is_ascii_lowercase() || byte.is_ascii_digit() => token.push(byte),
        _ => end(token),
    };
    for character in text.chars() {
        if character.is_ascii() {
            add(character.to_ascii_lowercase(), &mut token);
        } else {
            character.to_lowercase().for_each(|character| add(character, &mut token));
        }
    }
    end(&mut token);
}

/// The tokens of a text.
pub(super) fn tokenize(text: &str, stem: bool) -> Vec<String> {
    let mut tokens = Vec::new();
    each_token(text, stem, |token| tokens.push(token.iter().copied().map(char::from).collect()));
    tokens
}

#[cfg(test)]
mod tests {
    use super::tokenize;

    #[test]
    fn lower_casing_comes_before_the_filter() {
        // Kelvin sign, dotted capital I (an i and a combining dot, which separates), sharp s.
        assert_eq!(
            tokenize("\u{212a}elvin \u{130}stanbul Stra\u{df}e", false),
            ["kelvin", "i", "stanbul", "stra", "e"]
        );
    }

    #[test]
    fn words_of_three_letters_stay() {
        assert_eq!(tokenize("has ties running", true), ["has", "tie", "run"]);
    }
}
