//! Seeds: draws share no generator, whatever their seeds, purposes and indices.

use crate::support::{config, device, small};
use dynlayer::inference::RunSettings;
use dynlayer::inference::controllers::{ExitAfter, RandomSkip, UniformSkip};
use dynlayer::inference::oracle::{Candidate, Item, Measure, OracleOptions, OracleResults, OracleRun};
use dynlayer::inference::sampling::Sampling;
use dynlayer::metrics::random::{at, derive};
use dynlayer::model::{Llama, WeightDtype, standard_normal};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The purpose, the seed and the indices of a generator.
type Place = ([u8; 8], u64, [u64; 3]);

const WEIGHTS: [u8; 8] = *b"weights\0";

/// The purposes of all crates that list theirs.
fn listed() -> Vec<[u8; 8]> {
    let examples = dynlayer_examples::study::purposes::PURPOSES;
    [dynlayer::metrics::random::PURPOSES, dynlayer::inference::PURPOSES, examples].concat()
}

/// Two places with the same first number, if there are any.
fn tied(first: impl Fn(Place) -> u64) -> Option<[Place; 2]> {
    // The problems of the embedded model have the last letter of their task's name in the purpose's place, if any.
    let others = [WEIGHTS, *b"adapters", [0; 8], *b"1\0\0\0\0\0\0\0", *b"2\0\0\0\0\0\0\0", *b"3\0\0\0\0\0\0\0"];
    let starts: [u64; 5] = [0, 1 << 20, (1 << 32) - 50, (1 << 63) - 50, u64::MAX - 49];
    let seeds: BTreeSet<u64> = starts.iter().flat_map(|start| (0..100).map(move |i| start.wrapping_add(i))).collect();
    let near = [0, 1, 2, u64::MAX];
    let mut indices = Vec::new();
    for a in near {
        for b in near {
            indices.extend(near.map(|c| [a, b, c]));
        }
    }
    let mut seen = HashMap::new();
    for purpose in listed().into_iter().chain(others) {
        for seed in &seeds {
            for indices in &indices {
                let place = (purpose, *seed, *indices);
                if let Some(other) = seen.insert(first(place), place) {
                    return Some([other, place]);
                }
            }
        }
    }
    None
}

#[test]
fn no_two_places_have_the_same_numbers() {
    assert_eq!(tied(|(purpose, seed, indices)| derive(purpose, seed, indices)), None);
    for purpose in listed() {
        // Capitals are left to users.
        assert!(purpose.iter().all(|byte| byte.is_ascii_lowercase() || *byte == 0), "{}", purpose.escape_ascii());
    }
}

#[test]
fn tied_places_are_found() {
    let added = tied(|(purpose, seed, [a, b, c])| derive(purpose, seed.wrapping_add(a), [0, b, c]));
    let flipped = tied(|(purpose, seed, [a, b, c])| derive(purpose, seed ^ c, [a, b, 0]));
    let without_purpose = tied(|(_, seed, indices)| derive([0; 8], seed, indices));
    let without_an_index = tied(|(purpose, seed, [a, b, _])| derive(purpose, seed, [a, b, 0]));
    for tied in [added, flipped, without_purpose, without_an_index] {
        let [one, other] = tied.unwrap();
        assert_ne!(one, other);
    }
}

/// The model's crate derives its weights by itself, in the same way.
#[test]
fn weights_come_from_the_same_derivation() {
    let model = small(&device()); // of seed 7
    let embedding = model.embed(model.tokens(&[&[0]])).into_data().try_into_vec_as::<f32>().unwrap();
    let mut rng = at(WEIGHTS, 7, [0, 0, 0]);
    let scale = 1.0 / (embedding.len() as f32).sqrt();
    let expected: Vec<f32> = embedding.iter().map(|_| standard_normal(&mut rng) * scale).collect();
    assert_eq!(embedding, expected);
}

/// Adds the Rust files of a folder that are no tests and no benches.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() && !["tests", "benches"].contains(&name.as_str()) {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

#[test]
fn every_generator_has_a_listed_purpose_and_seeds_are_not_added_to() {
    // The derivation, the same for weights, and the problems of the embedded model, which have the same layout.
    let own = ["crates/metrics/src/random.rs", "crates/model/src/random.rs", "crates/tiny/src/problem.rs"];
    let generators = ["from_seed(", "seed_from_u64(", "at(*b\"", "derive(*b\"", "draw(b\""];
    let sums = ["seed.wrapping_", "seed + ", "+ seed", "seed * ", "* seed", "seed ^ ", "^ seed"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["crates", "examples", "src"] {
        sources(&root.join(folder), &mut files);
    }
    let own = own.map(|file| root.join(file));
    assert!(own.iter().all(|file| files.contains(file)), "{own:?}");
    for file in files.iter().filter(|file| !own.contains(file)) {
        let text = std::fs::read_to_string(file).unwrap();
        let (code, _) = text.split_once("mod tests {").unwrap_or((text.as_str(), ""));
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let found = generators.iter().chain(&sums).find(|part| line.contains(**part));
            assert_eq!(found, None, "{}: {line}", file.display());
        }
    }
}

/// A model with so many layers that two random routes are seldom equal: with both ends, there are 210 of 6 layers.
fn deep() -> Llama {
    let json = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 12, "num_attention_heads": 2, "max_position_embeddings": 64}"#;
    config(json).init(3, WeightDtype::F32, &device()).unwrap()
}

/// Measures four candidates, of which the second is `random:6`, and as many random routes of 6 layers.
fn measured(model: &Llama, measure: Measure<'_>, seed: u64) -> OracleResults {
    let item = |i: u32| Item {
        id: i.into(),
        prompt: vec![i, 7, 9],
        reference_tokens: (0..6).map(|token| (i * 5 + token * 11) % 64).collect(),
        ..Item::default()
    };
    let candidates = vec![
        Candidate::full(),
        Candidate::new("random:6", || RandomSkip::new(6)),
        Candidate::new("exit:6", || ExitAfter(6)),
        Candidate::new("uniform:6", || UniformSkip::new(6)),
    ];
    let options = OracleOptions {
        run: RunSettings { seed, ..OracleOptions::default().run },
        max_new_tokens: 8,
        halves: Some(Sampling { temperature: 1.0, ..Sampling::default() }),
        null_depths: vec![6],
        ..OracleOptions::default()
    };
    let items: Vec<Item> = (0..6).map(item).collect();
    let folder = tempfile::tempdir().unwrap();
    let run = OracleRun::new(model, candidates, measure).options(options);
    run.run(folder.path().join("run.jsonl"), &items, |_| {}).unwrap()
}

/// Neighbouring seeds, also across the largest one.
const NEIGHBOURS: [[u64; 2]; 2] = [[0, 1], [u64::MAX, 0]];

#[test]
fn random_routes_share_no_draws() {
    let model = deep();
    // The likelihood tells routes apart.
    let equal = |a: f64, b: f64| usize::from((a - b).abs() < 1e-6);
    for seeds in NEIGHBOURS {
        let [first, second] = seeds.map(|seed| measured(&model, Measure::Likelihood, seed));
        let (mut shifted, mut candidate) = (0, 0);
        for (first, second) in first.items.iter().zip(&second.items) {
            assert_eq!(first.null.len(), 4);
            for i in 1..4 {
                shifted += equal(first.null[i].quality, second.null[i - 1].quality);
                shifted += equal(first.null[i - 1].quality, second.null[i].quality);
            }
            candidate += equal(first.cells[1].quality, first.null[0].quality);
        }
        // Of 36 and of 6. One of 210 is equal by chance.
        assert!(shifted <= 3 && candidate <= 1, "seeds {seeds:?}: {shifted} shifted, {candidate} of the candidate");
    }
}

#[test]
fn halves_share_no_draws() {
    let model = deep();
    let tokens = || {
        Measure::output("tokens", |output| {
            output.tokens.iter().fold(0f64, |hash, token| (hash * 64.0 + f64::from(*token)) % 1e9)
        })
    };
    for seeds in NEIGHBOURS {
        let [first, second] = seeds.map(|seed| measured(&model, tokens(), seed));
        for (first, second) in first.items.iter().zip(&second.items) {
            for (first, second) in first.cells.iter().zip(&second.cells) {
                let halves = [first.halves.unwrap(), second.halves.unwrap()].concat();
                let distinct: BTreeSet<u64> = halves.iter().map(|half| half.to_bits()).collect();
                assert_eq!(distinct.len(), 4, "seeds {seeds:?}, {}: {halves:?}", first.candidate);
            }
        }
    }
}
