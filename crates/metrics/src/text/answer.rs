//! Scores of short answers: exact match and token F1.

use super::marks::in_word;
use super::{Score, TextError};
use std::collections::HashMap;

/// Words that the normalisation removes.
const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// Splits an answer into words, after the normalisation of the SQuAD evaluation script.
///
/// The text is lower-cased, the 32 ASCII punctuation characters are removed (so that "don't" becomes "dont"), the
/// words "a", "an" and "the" are dropped, and the rest is split at white space (Rajpurkar et al. 2016, arXiv
/// 1606.05250, section 6.1). Words and white space are those of Python, in which the script is written: combining marks
/// are no parts of words, and U+001C to U+001F are white space.
///
/// ```
/// use dynlayer_metrics::text::normalize_answer;
///
/// assert_eq!(normalize_answer("The  U.S.A., don't!"), ["usa", "dont"]);
/// ```
pub fn normalize_answer(text: &str) -> Vec<String> {
    let kept: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // The script's `\b(a|an|the)\b` also matches next to characters other than letters and digits, such as a dash.
    let mut without = String::with_capacity(kept.len());
    let mut word = String::new();
    let end = |word: &mut String, without: &mut String| {
        without.push_str(if ARTICLES.contains(&word.as_str()) { " " } else { word });
        word.clear();
    };
    for character in kept.chars() {
        if in_word(character) {
            word.push(character);
        } else {
            end(&mut word, &mut without);
            without.push(character);
        }
    }
    end(&mut word, &mut without);
    // The four separators are the only white space of Python's that Rust does not know.
    let space = |character: char| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character);
    without.split(space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Returns true if the prediction equals one of the references, after [`normalize_answer`].
///
/// ```
/// use dynlayer_metrics::text::exact_match;
///
/// assert!(exact_match(&["Paris", "the city of Paris"], "City of Paris.")?);
/// # Ok::<(), dynlayer_metrics::text::TextError>(())
/// ```
///
/// # Errors
///
/// [`TextError::NoReference`] if there are no references.
pub fn exact_match(references: &[impl AsRef<str>], prediction: &str) -> Result<bool, TextError> {
    if references.is_empty() {
        return Err(TextError::NoReference);
    }
    let prediction = normalize_answer(prediction);
    Ok(references.iter().any(|reference| normalize_answer(reference.as_ref()) == prediction))
}

/// Precision, recall and F1 of the words shared with a reference, after [`normalize_answer`], for the reference with
/// the highest F1.
///
/// Of a word that occurs `a` times in the prediction and `b` times in the reference, min(`a`, `b`) are shared.
///
/// The score is 1 if neither text has words, and 0 if only one of them has none, as in version 2 of the SQuAD script.
///
/// ```
/// use dynlayer_metrics::text::token_f1;
///
/// let score = token_f1(&["in the south of France"], "the south")?;
/// assert_eq!((score.precision, score.recall), (1.0, 0.25));
/// # Ok::<(), dynlayer_metrics::text::TextError>(())
/// ```
///
/// # Errors
///
/// [`TextError::NoReference`] if there are no references.
pub fn token_f1(references: &[impl AsRef<str>], prediction: &str) -> Result<Score, TextError> {
    let prediction = normalize_answer(prediction);
    references
        .iter()
        .map(|reference| overlap(&normalize_answer(reference.as_ref()), &prediction))
        .reduce(|best, score| if score.f1 > best.f1 { score } else { best })
        .ok_or(TextError::NoReference)
}

fn overlap(reference: &[String], prediction: &[String]) -> Score {
    if reference.is_empty() && prediction.is_empty() {
        return Score::of(1.0, 1.0);
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in reference {
        *left.entry(word).or_default() += 1;
    }
    let mut hits = 0;
    for word in prediction {
        if let Some(left) = left.get_mut(word.as_str()).filter(|left| **left > 0) {
            *left -= 1;
            hits += 1;
        }
    }
    Score::from_counts(hits, prediction.len(), reference.len())
}

#[cfg(test)]
mod tests {
    use super::{exact_match, normalize_answer, token_f1};
    use crate::text::TextError;

    /// The expected words are those of the SQuAD script.
    #[test]
    fn normalisation_follows_the_script() {
        for (text, expected) in [
            ("The cat's theatre", vec!["cats", "theatre"]),
            ("a–the b", vec!["–", "b"]),
            ("A.N. Other", vec!["other"]),
            ("an_the", vec![]),
            (" \t\n", vec![]),
            ("Être a\u{a0}b", vec!["être", "b"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            // "an_the": the underscore is punctuation and goes first, which leaves "anthe".
            if text == "an_the" {
                assert_eq!(normalize_answer(text), ["anthe"]);
            } else {
                assert_eq!(normalize_answer(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn words_and_white_space_are_pythons() {
        assert_eq!(normalize_answer("a\u{1c}b\u{1f}c d"), ["b", "c", "d"], "separators are white space");
        assert_eq!(
            normalize_answer("a\u{903} an\u{301} theatre"),
            ["\u{903}", "\u{301}", "theatre"],
            "marks are not letters"
        );
        assert_eq!(normalize_answer("the\u{24d0} \u{24d0}"), ["\u{24d0}", "\u{24d0}"], "nor are circled letters");
        assert_eq!(normalize_answer("a\u{b2} the\u{2160}"), ["a\u{b2}", "the\u{2170}"], "all kinds of numbers are");
        assert_eq!(normalize_answer("ΣΊΣΥΦΟΣ"), ["σίσυφος"], "a sigma at the end of a word has its own form");
    }

    #[test]
    fn empty_answers() {
        assert!(exact_match(&[""], "the").unwrap());
        assert_eq!(token_f1(&["the"], "").unwrap().f1, 1.0);
        assert_eq!(token_f1(&["word"], "").unwrap().f1, 0.0);
        assert_eq!(exact_match(&[] as &[&str], ""), Err(TextError::NoReference));
        assert_eq!(token_f1(&[] as &[&str], ""), Err(TextError::NoReference));
    }

    #[test]
    fn repeated_words_count_as_often_as_in_both() {
        let score = token_f1(&["no no yes"], "no no no no").unwrap();
        assert_eq!((score.precision, score.recall), (0.5, 2.0 / 3.0));
    }
}
