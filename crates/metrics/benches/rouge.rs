//! Time of ROUGE-L for 10,000 pairs of 100 words, by this crate and, in the same run, by rouge-score in Python.
//!
//! ```text
//! ROUGE_PYTHON=python cargo bench --workspace --bench rouge
//! ```
//!
//! `python` is an interpreter with rouge-score 0.1.2; without the variable, only this crate is measured. Both use one
//! thread and take turns; the ratio of the medians is printed.

use dynlayer_metrics::text::{Rouge, RougeVariant};
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

const PAIRS: usize = 10_000;
const WORDS: usize = 100;
const ROUNDS: usize = 3;

/// Returns pairs of texts over 2,000 made-up words; the second text is the first with a third of its words drawn anew.
fn pairs() -> Vec<(String, String)> {
    let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let vocabulary: Vec<String> = (0..2000)
        .map(|_| (0..draw.random_range(2..9)).map(|_| char::from(draw.random_range(b'a'..=b'z'))).collect())
        .collect();
    (0..PAIRS)
        .map(|_| {
            let reference: Vec<&str> =
                (0..WORDS).map(|_| vocabulary[draw.random_range(0..vocabulary.len())].as_str()).collect();
            let prediction: Vec<&str> =
                reference
                    .iter()
                    .map(|word| {
                        if draw.random_bool(0.33) { &vocabulary[draw.random_range(0..vocabulary.len())] } else { *word }
                    })
                    .collect();
            (reference.join(" "), prediction.join(" "))
        })
        .collect()
}

fn ours(pairs: &[(String, String)]) -> (f64, f64) {
    let start = Instant::now();
    let sum: f64 = pairs
        .iter()
        .map(|(reference, prediction)| {
            Rouge::plain().score_variant(RougeVariant::RougeL, black_box(reference), prediction).f1
        })
        .sum();
    (start.elapsed().as_secs_f64(), sum)
}

/// Returns the seconds and the sum of F1 of rouge-score. Python measures the time itself, without its start and without
/// reading the pairs.
fn theirs(python: &str, file: &std::path::Path) -> (f64, f64) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/rouge.py");
    let output = Command::new(python).arg(script).arg(file).stderr(Stdio::inherit()).output().expect("Python starts");
    assert!(output.status.success(), "{script} failed");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().expect("a number"));
    (numbers.next().expect("seconds"), numbers.next().expect("a sum"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let pairs = pairs();
    let python = std::env::var("ROUGE_PYTHON").ok();
    let file = std::env::temp_dir().join(format!("rouge-pairs-{}.json", std::process::id()));
    if python.is_some() {
        std::fs::write(&file, serde_json::to_string(&pairs).expect("texts")).expect("a temporary file");
    }
    ours(&pairs[..100]);
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (seconds, sum) = ours(&pairs);
        println!("round {round}: ours {seconds:.4} s");
        our_times.push(seconds);
        if let Some(python) = &python {
            let (seconds, their_sum) = theirs(python, &file);
            println!("round {round}: rouge-score {seconds:.2} s");
            assert!((sum - their_sum).abs() < 1e-6, "sums of F1: {sum} and {their_sum}");
            their_times.push(seconds);
        }
    }
    let ours = median(our_times);
    println!("ROUGE-L of {PAIRS} pairs of {WORDS} words: {ours:.4} s");
    if python.is_some() {
        std::fs::remove_file(&file).ok();
        let theirs = median(their_times);
        println!("rouge-score: {theirs:.2} s, {:.0} times as long", theirs / ours);
    } else {
        println!("rouge-score was not measured: ROUGE_PYTHON is not set");
    }
}
