//! The Porter stemmer, with the extensions of NLTK.
//!
//! The algorithm is that of Porter, "An algorithm for suffix stripping" (Program 14.3, 1980), with the additions that
//! NLTK's `PorterStemmer` makes in its default mode, which rouge-score uses. The steps keep the paper's names.

/// Words that the rules would stem wrongly, with their stems.
const IRREGULAR: [(&[u8], &[u8]); 16] = [
    (b"sky", b"sky"),
    (b"skies", b"sky"),
    (b"dying", b"die"),
    (b"lying", b"lie"),
    (b"tying", b"tie"),
    (b"news", b"news"),
    (b"innings", b"inning"),
    (b"inning", b"inning"),
    (b"outings", b"outing"),
    (b"outing", b"outing"),
    (b"cannings", b"canning"),
    (b"canning", b"canning"),
    (b"howe", b"howe"),
    (b"proceed", b"proceed"),
    (b"exceed", b"exceed"),
    (b"succeed", b"succeed"),
];

/// A suffix and its replacement, which a rule applies if the stem before the suffix meets a condition.
type Rule = (&'static str, &'static str);

const STEP_1A: [Rule; 4] = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];

const STEP_2: [Rule; 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [Rule; 7] =
    [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
];

/// Stems a word of lower-case ASCII letters and digits in place.
pub(super) fn stem(word: &mut Vec<u8>) {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word.as_slice()) {
        word.clear();
        word.extend_from_slice(stem);
        return;
    }
    if word.len() <= 2 {
        return;
    }
    step_1a(word);
    step_1b(word);
    step_1c(word);
    step_2(word);
    step_3(word);
    step_4(word);
    step_5a(word);
    step_5b(word);
}

/// Removes plural endings.
fn step_1a(word: &mut Vec<u8>) {
    if word.len() == 4 && word.ends_with(b"ies") {
        word.pop();
        return;
    }
    apply(word, &STEP_1A, |_| true);
}

/// Removes the endings of past participles and gerunds.
fn step_1b(word: &mut Vec<u8>) {
    if word.ends_with(b"ied") {
        // "died" to "die", "spied" to "spi".
        word.truncate(if word.len() == 4 { word.len() - 1 } else { word.len() - 2 });
        return;
    }
    if let Some(stem) = word.strip_suffix(b"eed") {
        if measure(stem) > 0 {
            word.pop();
        }
        return;
    }
    let Some(stem) = [&b"ed"[..], b"ing"]
        .into_iter()
        .find_map(|suffix| word.strip_suffix(suffix).filter(|stem| contains_vowel(stem)).map(<[u8]>::len))
    else {
        return;
    };
    word.truncate(stem);
    if [&b"at"[..], b"bl", b"iz"].into_iter().any(|end| word.ends_with(end)) {
        word.push(b'e');
    } else if ends_double_consonant(word) {
        if !matches!(word.last(), Some(b'l' | b's' | b'z')) {
            word.pop();
        }
    } else if measure(word) == 1 && ends_cvc(word) {
        word.push(b'e');
    }
}

/// Replaces a final y by i if it comes after a consonant that is not the only letter before it.
fn step_1c(word: &mut [u8]) {
    if let Some((last @ b'y', stem)) = word.split_last_mut()
        && stem.len() > 1
        && is_consonant(stem, stem.len() - 1)
    {
        *last = b'i';
    }
}

/// Reduces double suffixes to single ones.
fn step_2(word: &mut Vec<u8>) {
    // NLTK applies the rule for "alli" before all others, and then runs the result through the step again.
    while word.strip_suffix(b"alli").is_some_and(|stem| measure(stem) > 0) {
        word.truncate(word.len() - 2);
    }
    if apply(word, &STEP_2, |stem| measure(stem) > 0) {
        return;
    }
    // The l counts as part of the stem here, so that "geologi" and "archaeologi" are treated alike.
    if word.ends_with(b"logi") && measure(&word[..word.len() - 3]) > 0 {
        word.pop();
    }
}

/// Removes or shortens -ic-, -full, -ness and similar suffixes.
fn step_3(word: &mut Vec<u8>) {
    apply(word, &STEP_3, |stem| measure(stem) > 0);
}

/// Removes single suffixes.
fn step_4(word: &mut Vec<u8>) {
    let Some(suffix) = STEP_4.into_iter().find(|suffix| word.ends_with(suffix.as_bytes())) else { return };
    let stem = &word[..word.len() - suffix.len()];
    if measure(stem) > 1 && (suffix != "ion" || matches!(stem.last(), Some(b's' | b't'))) {
        word.truncate(word.len() - suffix.len());
    }
}

/// Removes a final e.
fn step_5a(word: &mut Vec<u8>) {
    if let Some(stem) = word.strip_suffix(b"e") {
        let measure = measure(stem);
        if measure > 1 || (measure == 1 && !ends_cvc(stem)) {
            word.pop();
        }
    }
}

/// Reduces a final double l to one.
fn step_5b(word: &mut Vec<u8>) {
    if word.ends_with(b"ll") && measure(&word[..word.len() - 1]) > 1 {
        word.pop();
    }
}

/// Applies the first rule whose suffix matches, if the stem allows it. Returns true if a suffix matched.
fn apply(word: &mut Vec<u8>, rules: &[Rule], allows: impl Fn(&[u8]) -> bool) -> bool {
    let Some((suffix, replacement)) = rules.iter().find(|(suffix, _)| word.ends_with(suffix.as_bytes())) else {
        return false;
    };
    let stem = word.len() - suffix.len();
    if allows(&word[..stem]) {
        word.truncate(stem);
        word.extend_from_slice(replacement.as_bytes());
    }
    true
}

fn is_vowel_letter(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// Returns, for each character, true if it is a consonant: a letter other than a, e, i, o, u, and other than y after a
/// consonant.
fn consonants(word: &[u8]) -> impl Iterator<Item = bool> {
    word.iter().scan(false, |previous, &letter| {
        *previous = if letter == b'y' { !*previous } else { !is_vowel_letter(letter) };
        Some(*previous)
    })
}

fn is_consonant(word: &[u8], index: usize) -> bool {
    consonants(&word[..=index]).last().unwrap_or(false)
}

/// The measure m of a word in the paper's form C? (VC){m} V?, with C and V runs of consonants and vowels.
fn measure(stem: &[u8]) -> usize {
    let mut after_vowel = false;
    let mut count = 0;
    for consonant in consonants(stem) {
        count += usize::from(after_vowel && consonant);
        after_vowel = !consonant;
    }
    count
}

fn contains_vowel(stem: &[u8]) -> bool {
    consonants(stem).any(|consonant| !consonant)
}

/// The paper's condition *d: the stem ends in a double consonant.
fn ends_double_consonant(word: &[u8]) -> bool {
    let n = word.len();
    n >= 2 && word[n - 1] == word[n - 2] && is_consonant(word, n - 1)
}

/// The paper's condition *o: the stem ends in a consonant, a vowel, and a consonant other than w, x and y. NLTK adds
/// words of two letters, a vowel and a consonant.
fn ends_cvc(word: &[u8]) -> bool {
    let n = word.len();
    match n {
        0 | 1 => false,
        2 => !is_consonant(word, 0) && is_consonant(word, 1),
        _ => {
            is_consonant(word, n - 3)
                && !is_consonant(word, n - 2)
                && is_consonant(word, n - 1)
                && !matches!(word[n - 1], b'w' | b'x' | b'y')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    /// Words made of stems and all suffixes, and English words, stemmed by NLTK (`tests/fixtures/make_text.py`).
    const STEMS: &str = include_str!("../../tests/fixtures/porter.tsv");

    #[test]
    fn every_word_is_stemmed_as_nltk_does() {
        let mut n = 0;
        for line in STEMS.lines() {
            let (word, expected) = line.split_once('\t').unwrap();
            let mut found = word.as_bytes().to_vec();
            stem(&mut found);
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{word}");
            n += 1;
        }
        assert!(n > 10_000, "{n} words");
    }

    #[test]
    fn long_runs_of_y_take_linear_time() {
        let mut word = vec![b'y'; 100_000];
        stem(&mut word);
        assert!(word.len() >= 99_999);
    }
}
