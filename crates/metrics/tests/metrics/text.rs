//! Text scores against rouge-score 0.1.2 and the SQuAD script.

use dynlayer_metrics::text::{Rouge, RougeVariant, Score, exact_match, normalize_answer, token_f1};
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

/// A file of pairs that is not part of the project, with the same numbers under their names.
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

#[test]
fn rouge_equals_rouge_score_on_generated_pairs() {
    let pairs: Vec<(String, String, Value, Value)> =
        serde_json::from_str(include_str!("../fixtures/rouge.json")).unwrap();
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

#[test]
fn answers_equal_the_squad_script() {
    let rows: Vec<(String, String, Vec<String>, bool, f64)> =
        serde_json::from_str(include_str!("../fixtures/answers.json")).unwrap();
    for (reference, prediction, words, exact, f1) in rows {
        assert_eq!(normalize_answer(&prediction), words, "{prediction:?}");
        assert_eq!(exact_match(&[&reference], &prediction).unwrap(), exact, "{reference:?} and {prediction:?}");
        let found = token_f1(&[&reference], &prediction).unwrap().f1;
        assert!((found - f1).abs() < 1e-9, "{reference:?} and {prediction:?}: {found}, expected {f1}");
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

/// A table of these texts would take 80 GB.
#[test]
fn rouge_l_takes_linear_memory() {
    let words: Vec<String> = (0..100_000).map(|i| format!("w{}", i * 7919 % 50_021)).collect();
    let text = words.join(" ");
    let score = Rouge::plain().score_variant(RougeVariant::RougeL, &text, &text);
    assert_eq!(score.f1, 1.0);
}
