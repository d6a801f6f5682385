//! Text scores against rouge-score 0.1.2 and the SQuAD script.

use dynlayer_metrics::statistics::Bootstrap;
use dynlayer_metrics::text::{
    Rouge, RougeScores, RougeVariant, Score, aggregate_rouge, exact_match, normalize_answer, token_f1,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn assert_score(found: Score, expected: &[f64], context: &str) {
    for (found, expected) in [found.precision, found.recall, found.f1].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{context}: {found}, expected {expected}");
    }
}

fn assert_rouge(rouge: Rouge, reference: &str, prediction: &str, expected: impl Fn(RougeVariant) -> Vec<f64>) {
    let scores = rouge.score(reference, prediction);
    for variant in RougeVariant::ALL {
        let context = format!("{variant:?}, {rouge:?}, {reference:.200?} and {prediction:.200?}");
        assert_score(scores.get(variant), &expected(variant), &context);
        assert_eq!(scores.get(variant), rouge.score_variant(variant, reference, prediction), "{context}");
    }
}

/// A file of scored pairs that is not part of the project.
#[test]
#[ignore = "needs a file of scored pairs, named by DYNLAYER_ROUGE"]
fn rouge_equals_rouge_score_on_a_file() {
    let path = std::env::var_os("DYNLAYER_ROUGE").expect("DYNLAYER_ROUGE names a JSON file of scored pairs");
    let pairs: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!pairs.is_empty());
    for pair in &pairs {
        let (reference, prediction) = (pair["target"].as_str().unwrap(), pair["prediction"].as_str().unwrap());
        for (rouge, key) in [(Rouge::plain(), "plain"), (Rouge::stemmed(), "stemmed")] {
            assert_rouge(rouge, reference, prediction, |variant| numbers(&pair[key][variant.name()]));
        }
    }
}

type Pairs = Vec<(String, String, Value, Value)>;

fn generated_pairs() -> Pairs {
    serde_json::from_str(include_str!("../fixtures/rouge.json")).unwrap()
}

#[test]
fn rouge_equals_rouge_score_on_generated_pairs() {
    let pairs = generated_pairs();
    assert!(pairs.len() >= 500);
    for (reference, prediction, plain, stemmed) in &pairs {
        for (rouge, expected) in [(Rouge::plain(), numbers(plain)), (Rouge::stemmed(), numbers(stemmed))] {
            assert_rouge(rouge, reference, prediction, |variant| {
                let at = 3 * RougeVariant::ALL.iter().position(|v| *v == variant).unwrap();
                expected[at..at + 3].to_vec()
            });
        }
    }
}

type Answers = Vec<(String, String, Vec<String>, bool, f64)>;

fn answers() -> Answers {
    serde_json::from_str(include_str!("../fixtures/answers.json")).unwrap()
}

#[test]
fn answers_equal_the_squad_script() {
    for (reference, prediction, words, exact, f1) in answers() {
        assert_eq!(normalize_answer(&prediction), words, "{prediction:?}");
        assert_eq!(exact_match(&[&reference], &prediction).unwrap(), exact, "{reference:?} and {prediction:?}");
        let found = token_f1(&[&reference], &prediction).unwrap().f1;
        assert!((found - f1).abs() < 1e-9, "{reference:?} and {prediction:?}: {found}, expected {f1}");
    }
}

/// Indices of the pairs whose references are used and of the pair whose prediction is, plain and stemmed scores.
type SeveralReferences = (Vec<usize>, usize, Vec<f64>, Vec<f64>);

/// Scores with several references and of corpora, from `make_references.py`; texts are given by their index in the
/// other fixtures.
#[derive(Deserialize)]
struct References {
    rouge: Vec<SeveralReferences>,
    answers: Vec<(Vec<usize>, usize, bool, f64)>,
    corpus: Vec<[f64; 3]>,
}

fn references() -> References {
    serde_json::from_str(include_str!("../fixtures/references.json")).unwrap()
}

#[test]
fn the_best_reference_is_that_of_score_multi() {
    let pairs = generated_pairs();
    for (of, predicted, plain, stemmed) in references().rouge {
        let texts: Vec<&str> = of.iter().map(|pair| pairs[*pair].0.as_str()).collect();
        for (rouge, expected) in [(Rouge::plain(), plain), (Rouge::stemmed(), stemmed)] {
            let found = rouge.score_best(&texts, &pairs[predicted].1).unwrap();
            for (variant, expected) in RougeVariant::ALL.into_iter().zip(expected.chunks(3)) {
                assert_score(found.get(variant), expected, &format!("{variant:?}, {rouge:?}, {of:?}, {predicted}"));
            }
        }
    }
}

#[test]
fn answers_take_the_best_reference_as_the_squad_script() {
    let rows = answers();
    for (of, predicted, exact, f1) in references().answers {
        let texts: Vec<&str> = of.iter().map(|row| rows[*row].0.as_str()).collect();
        let prediction = &rows[predicted].1;
        assert_eq!(exact_match(&texts, prediction).unwrap(), exact, "{texts:?}, {prediction:?}");
        let found = token_f1(&texts, prediction).unwrap().f1;
        assert!((found - f1).abs() < 1e-9, "{texts:?}, {prediction:?}: {found}, expected {f1}");
    }
}

/// The means, and the intervals of rouge-score's `BootstrapAggregator`. Both draw at random, so intervals differ by the
/// noise of two percentiles of resampled means.
#[test]
fn corpora_have_the_intervals_of_rouge_score() {
    let scores: Vec<RougeScores> =
        generated_pairs().iter().map(|pair| Rouge::plain().score(&pair.0, &pair.1)).collect();
    let bootstrap = Bootstrap { resamples: 20_000, ..Bootstrap::new(5) };
    let found = aggregate_rouge(&scores, &bootstrap).unwrap();
    let each = [found.rouge1, found.rouge2, found.rouge_l, found.rouge_lsum];
    for ((variant, found), [low, mid, high]) in RougeVariant::ALL.into_iter().zip(each).zip(references().corpus) {
        let f1: Vec<f64> = scores.iter().map(|score| score.get(variant).f1).collect();
        let mean = f1.iter().sum::<f64>() / f64::from(u32::try_from(f1.len()).unwrap());
        assert!((found.f1.estimate - mean).abs() < 1e-12, "{variant:?}");
        // Means of 721 items have a standard error of 0.012, and 20,000 resamples leave 2 % of that.
        for (found, expected) in [(found.f1.low, low), (found.f1.estimate, mid), (found.f1.high, high)] {
            assert!((found - expected).abs() < 1e-3, "{variant:?}: {found}, expected {expected}");
        }
    }
    assert_eq!(aggregate_rouge(&scores, &bootstrap), Ok(found), "the seed decides");
    assert!(aggregate_rouge(&[], &bootstrap).is_err());
}

/// Words and white space are those of Python's `re` and `str.split`, at every code point that its Unicode knows. Capital
/// letters are left out: their small letters count.
#[test]
fn every_character_is_a_part_of_a_word_or_white_space_as_in_python() {
    #[derive(Deserialize)]
    struct Python {
        unicode: String,
        word: Vec<(usize, usize)>,
        unassigned: Vec<(usize, usize)>,
        space: Vec<(usize, usize)>,
    }
    let python: Python = serde_json::from_str(include_str!("../fixtures/words.json")).unwrap();
    let table = |ranges: &[(usize, usize)]| {
        let mut table = vec![false; 0x11_0000];
        for &(first, last) in ranges {
            table[first..=last].fill(true);
        }
        table
    };
    let (word, space, unassigned) = (table(&python.word), table(&python.space), table(&python.unassigned));
    let mut seen = 0;
    for (code, character) in (0..0x11_0000).filter_map(|code| Some((code as usize, char::from_u32(code)?))) {
        if unassigned[code] || character.is_ascii_punctuation() || !character.to_lowercase().eq([character]) {
            continue;
        }
        seen += 1;
        // Next to a part of a word, "a" is no article.
        let stays = normalize_answer(&format!("{character}a")).concat().ends_with('a');
        assert_eq!(stays, word[code], "U+{code:04X}, Unicode {}", python.unicode);
        let splits = normalize_answer(&format!("x{character}y")).len() == 2;
        assert_eq!(splits, space[code], "U+{code:04X}, Unicode {}", python.unicode);
    }
    assert!(seen > 250_000, "{seen}");
}

#[test]
fn squad_scores_at_the_edges_of_words() {
    for (reference, prediction) in [("a\u{1c}b", "b"), ("cat", "\u{1c}cat"), ("\u{903} cat", "a\u{903} cat")] {
        assert_eq!(exact_match(&[reference], prediction), Ok(true), "{reference:?} and {prediction:?}");
        assert_eq!(token_f1(&[reference], prediction).unwrap().f1, 1.0, "{reference:?} and {prediction:?}");
    }
}

/// Lines of words over a few letters, so that texts share words, pairs and subsequences.
fn text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["a", "b", "running", "runs", "Café", "3", "don't", "."]);
    let line = prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn rouge_is_symmetric_and_bounded(a in text(), b in text(), stem: bool) {
        let rouge = if stem { Rouge::stemmed() } else { Rouge::plain() };
        let (ab, ba, aa) = (rouge.score(&a, &b), rouge.score(&b, &a), rouge.score(&a, &a));
        for variant in RougeVariant::ALL {
            let (score, swapped, same) = (ab.get(variant), ba.get(variant), aa.get(variant));
            for share in [score.precision, score.recall, score.f1] {
                prop_assert!((0.0..=1.0).contains(&share), "{:?}: {:?}", variant, score);
            }
            // Changing places changes precision and recall; of line by line subsequences only F1's bounds are left.
            if variant != RougeVariant::RougeLsum {
                prop_assert_eq!((score.precision, score.recall), (swapped.recall, swapped.precision), "{:?}", variant);
                prop_assert_eq!(score.f1, swapped.f1, "{:?}", variant);
            }
            // A text is equal to itself, if it has anything to compare.
            let parts = rouge.tokenize(&a).len() + 1;
            let needed = if variant == RougeVariant::Rouge2 { 3 } else { 2 };
            prop_assert_eq!(same.f1, if parts >= needed { 1.0 } else { 0.0 }, "{:?}", variant);
        }
        // Order, then words: a subsequence has no more than the bag.
        prop_assert!(ab.rouge_l.f1 <= ab.rouge1.f1 + 1e-12);
        prop_assert!(ab.rouge_lsum.f1 <= ab.rouge1.f1 + 1e-12);
        // Case and what is between words do not matter.
        let shouted = a.to_uppercase().replace(' ', " -- ");
        if a.is_ascii() {
            prop_assert_eq!(rouge.score(&shouted, &b), ab);
        }
        let references = [a.as_str(), b.as_str()];
        let (best, mean) = (rouge.score_best(&references, &b).unwrap(), rouge.score_mean(&references, &b).unwrap());
        for variant in RougeVariant::ALL {
            prop_assert!(best.get(variant).f1 >= mean.get(variant).f1 - 1e-12);
            let bb = rouge.score(&b, &b).get(variant);
            prop_assert!((mean.get(variant).recall - f64::midpoint(ab.get(variant).recall, bb.recall)).abs() < 1e-12);
        }
    }
}

#[test]
fn several_references() {
    let rouge = Rouge::plain();
    let references = ["a b c d", "a x", "c d a"];
    let each: Vec<_> = references.iter().map(|reference| rouge.score(reference, "a b")).collect();
    let (best, mean) = (rouge.score_best(&references, "a b").unwrap(), rouge.score_mean(&references, "a b").unwrap());
    assert_eq!(best.rouge1, each[0].rouge1);
    for variant in RougeVariant::ALL {
        let f1: Vec<f64> = each.iter().map(|scores| scores.get(variant).f1).collect();
        assert_eq!(best.get(variant).f1, f1.iter().copied().fold(0.0, f64::max));
        assert!((mean.get(variant).f1 - f1.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    }
    assert!(rouge.score_best(&[] as &[&str], "a").is_err() && rouge.score_mean(&[] as &[&str], "a").is_err());
}

/// A table of these texts would take 80 GB, and 1.25 GB with a bit per cell.
#[test]
fn long_texts_take_little_memory() {
    let words: Vec<String> = (0..100_000).map(|i| format!("w{}", i * 7919 % 50_021)).collect();
    let text = words.join(" ");
    let scores = Rouge::plain().score(&text, &text);
    assert!(RougeVariant::ALL.into_iter().all(|variant| scores.get(variant).f1 == 1.0));
    // The most that this process, with all tests beside this one, ever had; where the system says so.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM:")) {
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kibibytes < 600 << 10, "{line}");
    }
}
