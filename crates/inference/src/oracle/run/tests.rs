//! Tests that compare lanes with candidates that run alone, and tests of interrupted runs.

mod sharded;

use super::*;
use crate::conformance::small_model;
use crate::control::{Action, ControlFrom, Controller, KvPolicy, PartialSkips, RunSettings};
use crate::controllers::{
    BernoulliSkip, Budgeted, ConfidenceExit, ExitAfter, ExitRule, FullDepth, LinearRouter, RandomSkip, Recording,
    Resources, Routed, RouterOptions, SaturationExit, UniformSkip,
};
use crate::generation::{GenerateOptions, ScoreOptions, generate, score};
use crate::oracle::{OracleController, PredictorController, PredictorTrial, PromptPredictor, PromptStates};
use crate::random;
use crate::sampling::Sampling;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use dynlayer_metrics::allocation::Allocator;
use dynlayer_metrics::baselines::Comparison;
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::text::{SpecialTokens, Tokenizer};
use dynlayer_model::{Backend, Digest, Llama, WeightDtype};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::Cell as Counter;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

const SEED: u64 = 5;

fn model() -> Llama {
    small_model(&Backend::Flex.device().unwrap()).unwrap()
}

fn items(n: u32) -> Vec<Item> {
    let item = |i: u32| Item {
        id: u64::from(100 - i),
        prompt: (0..=i % 7).map(|t| (i * 31 + t * 17 + 3) % 40).collect(),
        reference: format!("reference {i}"),
        reference_tokens: (0..4 + i % 3).map(|t| (i * 7 + t * 11 + 1) % 40).collect(),
    };
    (0..n).map(item).collect()
}

type Make = fn() -> Box<dyn Controller + Send>;

/// Controllers of all kinds: fixed, random, with host reads, and with state.
const KINDS: [(&str, Make); 7] = [
    ("uniform:3", || Box::new(UniformSkip::new(3))),
    ("exit:1", || Box::new(ExitAfter(1))),
    ("random:3", || Box::new(RandomSkip::new(3))),
    ("bernoulli:0.5", || Box::new(BernoulliSkip::new(0.5))),
    ("confidence:0.02", || Box::new(ConfidenceExit::new(ExitRule::new(0.02)))),
    ("saturation:0.9", || Box::new(SaturationExit::new(ExitRule::new(0.9)))),
    ("budgeted:2.5:full", || Box::new(Budgeted::new(2.5, FullDepth))),
];

fn candidates() -> Vec<Candidate<'static>> {
    let others = KINDS.iter().map(|(name, make)| Candidate::new(*name, make));
    std::iter::once(Candidate::full()).chain(others).collect()
}

/// A quality that depends on every token and on the reference.
fn hash(output: &ScoringInput<'_>) -> f64 {
    let tokens = output.tokens.iter().fold(0u32, |hash, token| (hash * 31 + token + 1) % 9973);
    f64::from(tokens + u32::from(output.reference.len() as u8) * 10_000)
        + output.reference_tokens.iter().map(|token| f64::from(*token) / 1e4).sum::<f64>()
}

fn options() -> OracleOptions<'static> {
    OracleOptions {
        run: RunSettings { seed: SEED, ..OracleOptions::default().run },
        max_new_tokens: 6,
        stop_tokens: vec![3, 4, 5],
        lanes: 5,
        ..OracleOptions::default()
    }
}

fn oracle_run<'a>(model: &'a Llama, options: OracleOptions<'a>) -> OracleRun<'a> {
    OracleRun::new(model, candidates(), Measure::output("hash", hash)).options(options)
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    (folder, file)
}

/// The file's text without wall times.
fn timeless(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let line = |line: &str| match line.rsplit_once(",\"seconds\":") {
        Some((rest, _)) => format!("{rest}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn alone(item: &Item, seed: u64, sampling: Sampling) -> GenerateOptions<'static> {
    GenerateOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, seed, ..RunSettings::default() },
        max_new_tokens: 6,
        stop_tokens: vec![3, 4, 5],
        sequence_ids: vec![item.id],
        sampling,
        ..GenerateOptions::default()
    }
}

#[test]
fn a_lane_does_what_its_candidate_does_alone() {
    let (model, (_folder, file)) = (model(), scratch());
    let items = items(9);
    let halves = Sampling { temperature: 0.8, ..Sampling::default() };
    let options = OracleOptions { halves: Some(halves.clone()), ..options() };
    let results = oracle_run(&model, options).run(&file, &items, |_| {}).unwrap();
    let mut stopped = 0;
    for (item, measured) in items.iter().zip(&results.items) {
        assert_eq!(measured.sequence, item.id);
        for (candidate, cell) in candidates().iter().zip(&measured.cells) {
            let run = |seed, sampling| {
                let controller = candidate.controller().unwrap();
                let (mut done, report) =
                    generate(&model, controller, std::slice::from_ref(&item.prompt), alone(item, seed, sampling))
                        .unwrap()
                        .finish()
                        .unwrap();
                (done.remove(0).tokens, report.sequences[0].depth().unwrap())
            };
            let judge = |tokens: &[u32], reference: &str, reference_tokens: &[u32]| {
                hash(&ScoringInput { item, text: "", tokens, reference, reference_tokens })
            };
            let (tokens, depth) = run(SEED, Sampling::default());
            let output = cell.output.as_ref().unwrap();
            assert_eq!((&output.tokens, cell.cost), (&tokens, depth), "{} of {}", candidate.name(), item.id);
            assert_eq!(cell.quality, judge(&tokens, &item.reference, &item.reference_tokens));
            let full = measured.full.as_ref().unwrap();
            assert_eq!(cell.label_free, Some(judge(&tokens, "", &full.tokens)));
            let half = |half| {
                let tokens = run(random::derive(random::HALF, SEED, [half, 0, 0]), halves.clone()).0;
                judge(&tokens, &item.reference, &item.reference_tokens)
            };
            // A run alone has one seed for sampling and for the controller, so here a random controller would draw
            // other layers than in the lane.
            if !candidate.name().starts_with("random") && !candidate.name().starts_with("bernoulli") {
                assert_eq!(cell.halves.unwrap(), [half(0), half(1)], "{}", candidate.name());
            }
            stopped += usize::from(tokens.len() < 6);
        }
    }
    assert!(stopped > 3, "some lanes should stop early: {stopped}");
}

#[test]
fn given_tokens_score_as_they_do_alone() {
    let (model, (_folder, file)) = (model(), scratch());
    let items = items(6);
    let halves = Some(Sampling::default());
    let run = OracleRun::new(&model, candidates(), Measure::Likelihood).options(OracleOptions { halves, ..options() });
    let results = run.run(&file, &items, |_| {}).unwrap();
    for (item, measured) in items.iter().zip(&results.items) {
        let full = measured.full.as_ref().unwrap();
        for (candidate, cell) in candidates().iter().zip(&measured.cells) {
            let run = |continuation: &[u32]| {
                let options = ScoreOptions {
                    run: RunSettings {
                        control_from: ControlFrom::LastPromptToken,
                        seed: SEED,
                        ..RunSettings::default()
                    },
                    sequence_ids: vec![item.id],
                    ..ScoreOptions::default()
                };
                score(&model, candidate.controller().unwrap(), &item.prompt, continuation, &options).unwrap()
            };
            let (scored, report) = run(&item.reference_tokens);
            assert!((cell.quality + scored.mean_nll().unwrap()).abs() < 1e-5, "{}", candidate.name());
            assert_eq!(cell.cost, report.sequences[0].depth().unwrap(), "{}", candidate.name());
            let n = scored.tokens.len();
            let [odd, even] = cell.halves.unwrap();
            let joined = (odd * n.div_ceil(2) as f64 + even * (n / 2) as f64) / n as f64;
            assert!((joined - cell.quality).abs() < 1e-9);
            let label_free = -run(&full.tokens).0.mean_nll().unwrap();
            assert!((cell.label_free.unwrap() - label_free).abs() < 1e-5, "{}", candidate.name());
        }
    }
}

#[test]
fn the_full_model_agrees_with_itself() {
    let (model, (_folder, file)) = (model(), scratch());
    let run = OracleRun::new(&model, candidates(), Measure::Agreement).options(options());
    let results = run.run(&file, &items(6), |_| {}).unwrap();
    let evidence = results.evidence().unwrap();
    assert_eq!(evidence.static_means(0).unwrap().0, 1.0);
    assert!((1..evidence.candidates().len()).any(|other| evidence.static_means(other).unwrap().0 < 1.0));
}

#[test]
fn costs_are_counted_as_asked() {
    let model = model();
    for (cost, least, most) in [(Cost::Gigaflops, 1e-9, 1.0), (Cost::Milliseconds, 1e-6, 1e4)] {
        let (_folder, file) = scratch();
        let results = oracle_run(&model, OracleOptions { cost, ..options() }).run(&file, &items(2), |_| {}).unwrap();
        let costs: Vec<f64> = results.items[0].cells.iter().map(|cell| cell.cost).collect();
        assert!(costs.iter().all(|cost| (least..most).contains(cost)), "{cost:?} {costs:?}");
        if cost == Cost::Gigaflops {
            assert!(costs[2] < costs[0], "an exit after one layer is cheaper: {costs:?}");
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_becomes_the_undisturbed_one() {
    let (model, (_folder, file)) = (model(), scratch());
    let options = OracleOptions { null_depths: vec![2], ..options() };
    let items = items(4);
    let run = || oracle_run(&model, options.clone()).run(&file, &items, |_| {});
    let whole = run().unwrap();
    let (bytes, expected) = (std::fs::read(&file).unwrap(), timeless(&file));
    // Cuts around the ends of all lines, and at random positions.
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut places: Vec<usize> = ends.flat_map(|at| [at.saturating_sub(1), at, at + 1]).chain([0, 1]).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    places.extend((0..25).map(|_| rng.random_range(0..bytes.len())));
    for at in places {
        std::fs::write(&file, &bytes[..at]).unwrap();
        let again = run().unwrap();
        assert_eq!(timeless(&file), expected, "cut at {at} of {}", bytes.len());
        assert_eq!(again.evidence().unwrap(), whole.evidence().unwrap());
        assert_eq!(again.null().unwrap(), whole.null().unwrap());
    }
    // More items continue a run of fewer.
    let more = super::tests::items(6);
    let mut seen = Vec::new();
    oracle_run(&model, options.clone()).run(&file, &more, |progress| seen.push(progress.done)).unwrap();
    assert_eq!(seen, [4, 5, 6]);
    assert_eq!(OracleResults::read(&file).unwrap().items.len(), 6);
}

#[test]
fn what_fails_on_the_way_loses_nothing() {
    let model = model();
    let items = items(5);
    let (_folder, undisturbed) = scratch();
    oracle_run(&model, options()).run(&undisturbed, &items, |_| {}).unwrap();
    for panics in [true, false] {
        let (_folder, file) = scratch();
        for limit in [1, 17, 40] {
            let left = Counter::new(limit);
            let quality = |output: &ScoringInput<'_>| {
                left.set(left.get() - 1);
                match (left.get() > 0, panics) {
                    (true, _) => hash(output),
                    (false, true) => panic!("as a user's function may"),
                    (false, false) => f64::NAN,
                }
            };
            let failing = OracleRun::new(&model, candidates(), Measure::output("hash", quality)).options(options());
            let result = catch_unwind(AssertUnwindSafe(|| failing.run(&file, &items, |_| {})));
            match result {
                Err(_) => assert!(panics),
                Ok(result) => {
                    let error = result.unwrap_err();
                    assert!(matches!(error, OracleError::Quality { found, .. } if found.is_nan()), "{error}");
                }
            }
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.ends_with('\n') && timeless(&undisturbed).starts_with(&timeless(&file)));
        }
        oracle_run(&model, options()).run(&file, &items, |_| {}).unwrap();
        assert_eq!(timeless(&file), timeless(&undisturbed));
    }
}

#[test]
fn another_run_is_refused_and_left_alone() {
    let (model, (folder, file)) = (model(), scratch());
    let items = items(2);
    oracle_run(&model, options()).run(&file, &items, |_| {}).unwrap();
    let before = std::fs::read(&file).unwrap();
    let refused = |run: OracleRun<'_>, items: &[Item]| run.run(&file, items, |_| {}).unwrap_err().to_string();
    let labels = [("model".to_owned(), "another".to_owned())].into();
    let cases = [
        (refused(oracle_run(&model, OracleOptions { max_new_tokens: 7, ..options() }), &items), "expected 7, found 6"),
        (
            refused(
                oracle_run(&model, OracleOptions { run: RunSettings { seed: 6, ..options().run }, ..options() }),
                &items,
            ),
            "differs in run.seed: expected 6, found 5",
        ),
        (
            refused(oracle_run(&model, OracleOptions { labels, ..options() }), &items),
            "differs in labels.model: expected \"another\", found nothing; use another file",
        ),
        (refused(oracle_run(&model, options()), &items[..1]), "line 3: expected no more than 1 items, found item 99"),
        (refused(oracle_run(&model, options()), &[items[1].clone(), items[0].clone()]), "line 2: expected item 99"),
        (
            refused(oracle_run(&model, options()), &[Item { reference: "x".into(), ..items[0].clone() }]),
            "item 100 with the prompt and the reference",
        ),
        (
            refused(OracleRun::new(&model, candidates(), Measure::Agreement).options(options()), &items),
            "differs in measure",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found:?} should say {expected:?}");
    }
    // The file is being written by another run.
    let held = std::fs::File::open(&file).unwrap();
    held.lock().unwrap();
    assert!(matches!(oracle_run(&model, options()).run(&file, &items, |_| {}), Err(OracleError::Busy { .. })));
    held.unlock().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), before);
    // A file of another kind, and a damaged line.
    for text in ["a file of somebody's", "a file\nof somebody's\n"] {
        let path = folder.path().join("other");
        std::fs::write(&path, text).unwrap();
        let error = oracle_run(&model, options()).run(&path, &items, |_| {}).unwrap_err();
        assert!(matches!(error, OracleError::Syntax { line: 1, .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let text = String::from_utf8(before).unwrap().replacen("\"sequence\":100", "\"sequence\":\"100\"", 1);
    std::fs::write(&file, &text).unwrap();
    let error = oracle_run(&model, options()).run(&file, &items, |_| {}).unwrap_err();
    assert!(matches!(error, OracleError::Syntax { line: 2, .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

/// Multiplies the weights whose name contains `part` by `factor`.
fn scaled(model: &Llama, part: &str, factor: f32) -> Llama {
    struct Scale<'a> {
        path: Vec<String>,
        part: &'a str,
        factor: f32,
    }
    impl ModuleMapper for Scale<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let changes = self.path.join(".").contains(self.part);
            if changes { param.map(|weight| weight.mul_scalar(self.factor)) } else { param }
        }
    }
    model.clone().map(&mut Scale { path: Vec::new(), part, factor })
}

fn tokenizer(first: &str) -> Tokenizer {
    let json = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {{"type": "WordLevel", "vocab": {{"{first}": 0, "b": 1}}, "unk_token": "b"}}}}"#
    );
    Tokenizer::from_json(json.as_bytes(), "a test").unwrap()
}

fn with(tokenizer: &Tokenizer) -> OracleOptions<'_> {
    OracleOptions { tokenizer: Some(tokenizer), ..options() }
}

#[test]
fn another_model_is_refused_by_name() {
    let (model, (_folder, file)) = (model(), scratch());
    let (items, text) = (items(2), tokenizer("a"));
    let run = |model: &Llama, options: OracleOptions<'_>, items: &[Item]| {
        let measure = Measure::output("hash", hash);
        OracleRun::new(model, candidates(), measure).options(options).run(&file, items, |_| {})
    };
    run(&model, with(&text), &items[..1]).unwrap();
    let before = std::fs::read(&file).unwrap();
    let differs = |model: &Llama, options: OracleOptions<'_>| {
        let Err(OracleError::OtherRun { setting, .. }) = run(model, options, &items) else { panic!("not refused") };
        assert_eq!(std::fs::read(&file).unwrap(), before, "{setting}");
        setting
    };
    let device = Backend::Flex.device().unwrap();
    let weights = "the weights";
    let other_init = |seed, dtype| model.config().init(seed, dtype, &device).unwrap();
    for changed in [
        Box::new(scaled(&model, "q_proj", -1.0)),
        Box::new(scaled(&model, "layers.5.post_attention_layernorm", 1.001)),
        Box::new(other_init(99, WeightDtype::F32)),
        Box::new(other_init(11, WeightDtype::F16)),
    ] {
        assert_eq!(differs(&changed, with(&text)), weights);
    }
    let mut config = model.config().clone();
    config.rope.theta = 20000.0;
    let rotated = config.init(11, WeightDtype::F32, &device).unwrap();
    assert_eq!(rotated.weights_digest(), model.weights_digest(), "only the configuration differs");
    assert_eq!(differs(&rotated, with(&text)), "configuration.rope.theta");
    let roles = || SpecialTokens { bos: Some("a".into()), ..SpecialTokens::default() };
    for other in [
        tokenizer("c"),
        text.clone().with_chat(SpecialTokens::default(), Some("{{ messages }}".into())),
        text.clone().with_chat(roles(), None),
    ] {
        assert_eq!(differs(&model, with(&other)), "the tokenizer or its chat template");
    }
    assert_eq!(differs(&model, options()), "the tokenizer or its chat template");
    // The same model, loaded again, continues.
    assert_eq!(run(&super::tests::model(), with(&tokenizer("a")), &items).unwrap().items.len(), 2);
}

#[test]
fn every_option_is_checked_by_name() {
    let (model, (_folder, file)) = (model(), scratch());
    let (items, text) = (items(1), tokenizer("a"));
    let options = || with(&text);
    oracle_run(&model, options()).run(&file, &items, |_| {}).unwrap();
    let run = |run: RunSettings| OracleOptions { run, ..options() };
    let settings = options().run;
    for (setting, changed) in [
        ("run.kv_policy", run(RunSettings { kv_policy: KvPolicy::Omit, ..settings })),
        ("run.partial_skips", run(RunSettings { partial_skips: PartialSkips::RunAll, ..settings })),
        ("run.prefill_chunk", run(RunSettings { prefill_chunk: 3, ..settings })),
        ("run.seed", run(RunSettings { seed: 6, ..settings })),
        ("max_new_tokens", OracleOptions { max_new_tokens: 7, ..options() }),
        ("stop_tokens", OracleOptions { stop_tokens: vec![3, 4], ..options() }),
        ("stop_strings", OracleOptions { stop_strings: vec!["b".into()], ..options() }),
        ("halves", OracleOptions { halves: Some(Sampling { temperature: 0.5, ..Sampling::default() }), ..options() }),
        ("label_free", OracleOptions { label_free: false, ..options() }),
        ("null_depths", OracleOptions { null_depths: vec![2], ..options() }),
        ("cost", OracleOptions { cost: Cost::Gigaflops, ..options() }),
        ("lanes", OracleOptions { lanes: 6, ..options() }),
        ("shard", OracleOptions { shard: Some(Shard::new(0, 1).unwrap()), ..options() }),
    ] {
        let refused = oracle_run(&model, changed).run(&file, &items, |_| {});
        match refused {
            Err(OracleError::OtherRun { setting: found, .. }) => assert_eq!(found, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }
}

/// A specification, the name of what it reads, and a function that changes that.
type Change<'a> = (&'a str, &'a str, &'a dyn Fn(bool));

#[test]
fn other_inputs_of_candidates_are_refused_by_name() {
    let model = model();
    let (folder, items) = (tempfile::tempdir().unwrap(), items(2));
    let at = |name: &str| folder.path().join(name);
    let router = |bias| {
        let router = LinearRouter::new([6, 32], bias, 0, &model.device());
        Routed::new(router, RouterOptions::default()).save(at("gates")).unwrap();
    };
    let record = |action| {
        let mut recording = Recording::new(6);
        for item in &items {
            (0..10).for_each(|_| recording.push(item.id, vec![action; 6]).unwrap());
        }
        recording.save(at("run.json")).unwrap();
    };
    let resources = |text: u32| Resources::new().folder(folder.path()).texts(vec![vec![1, 2, text]]);
    let run = |spec: &str, resources: &Resources, items: &[Item], meanwhile: &dyn Fn()| {
        let candidates = vec![Candidate::full(), Candidate::from_spec(&spec.parse().unwrap(), &model, resources)];
        let measure = Measure::output("hash", |output| {
            meanwhile();
            hash(output)
        });
        let name = spec.split(':').next().unwrap();
        OracleRun::new(&model, candidates, measure).options(options()).run(at(name), items, |_| {})
    };
    let nothing = &|| {};
    let changes: [Change<'_>; 3] = [
        ("influence:3", "the calibration texts of candidate influence:3", &|_| {}),
        ("router:gates", "the router of candidate router:gates", &|other| router(if other { -1.0 } else { 1.0 })),
        ("replay:run.json", "the recording of candidate replay:run.json", &|other| {
            record(if other { Action::SkipMlp } else { Action::Run });
        }),
    ];
    for (spec, setting, change) in changes {
        let refused = |result: Result<OracleResults, OracleError>| match result {
            Err(OracleError::OtherRun { setting: found, .. } | OracleError::Replaced { what: found, .. }) => {
                assert_eq!(found, setting);
            }
            other => panic!("{spec}: {other:?}"),
        };
        let path = at(spec.split(':').next().unwrap());
        change(false);
        run(spec, &resources(3), &items[..1], nothing).unwrap();
        let before = std::fs::read(&path).unwrap();
        change(true);
        refused(run(spec, &resources(4), &items, nothing));
        assert_eq!(std::fs::read(&path).unwrap(), before, "{spec}");
        change(false);
        if spec != "influence:3" {
            // The file is replaced while the second item runs.
            let result = run(spec, &resources(3), &items, &|| change(true));
            assert!(matches!(result, Err(OracleError::Replaced { .. })), "{spec}");
            refused(result);
            assert_eq!(std::fs::read(&path).unwrap(), before, "{spec}");
            change(false);
        }
        assert_eq!(run(spec, &resources(3), &items, nothing).unwrap().items.len(), 2, "{spec}");
    }
    // What a candidate's own function reads is known by the digest that is given with it.
    let file = at("own");
    let own = |list: &'static str| {
        let candidate = Candidate::new("own", || UniformSkip::new(3)).reading("list", Digest::of([list]));
        OracleRun::new(&model, vec![candidate], Measure::Agreement).options(options()).run(&file, &items, |_| {})
    };
    own("3,5").unwrap();
    own("3,5").unwrap();
    let error = own("3,4").unwrap_err().to_string();
    assert!(error.contains("differs in the list of candidate own"), "{error}");
}

#[test]
fn candidates_that_cannot_run_here_are_refused_before_a_file_is_made() {
    let (model, (_folder, file)) = (model(), scratch());
    let candidates = vec![Candidate::full(), Candidate::new("deep", || UniformSkip::new(40))];
    let run = OracleRun::new(&model, candidates, Measure::Agreement).options(options());
    let error = run.run(&file, &items(1), |_| {}).unwrap_err();
    assert!(matches!(&error, OracleError::Refused { candidate, .. } if candidate == "deep"), "{error}");
    assert!(!file.exists());
}

#[test]
fn files_of_an_earlier_version_are_refused() {
    let (model, (_folder, file)) = (model(), scratch());
    let text = "{\"format\":\"dynlayer-oracle-run\",\"version\":1,\"probe\":-4.0,\"settings\":{\"seed\":5}}\n";
    std::fs::write(&file, text).unwrap();
    let continued = oracle_run(&model, options()).run(&file, &items(1), |_| {});
    for result in [continued, OracleResults::read(&file)] {
        let error = result.unwrap_err();
        assert!(matches!(error, OracleError::Version { expected: 2, found: 1, .. }), "{error}");
        assert!(error.to_string().contains("use another file, or remove this one"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    std::fs::write(&file, text.replace("oracle-run", "other")).unwrap();
    assert!(matches!(OracleResults::read(&file), Err(OracleError::Syntax { line: 1, .. })));
}

#[test]
fn lanes_and_threads_change_nothing_on_the_processor() {
    // Wide enough for the kernels to divide their products among threads.
    let json = r#"{"model_type": "llama", "vocab_size": 300, "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}"#;
    let config = LlamaConfig::from_hf_json(json, "a test").unwrap();
    let model = config.init(1, WeightDtype::F32, &Backend::Flex.device().unwrap()).unwrap();
    let mut items = items(2);
    items[1].prompt = (0..100).collect();
    let run = |threads: usize, lanes: usize| {
        dynlayer_model::set_threads(NonZero::new(threads).unwrap());
        let (_folder, file) = scratch();
        let halves = Some(Sampling { temperature: 0.8, ..Sampling::default() });
        let options = OracleOptions { lanes, halves, null_depths: vec![2], ..options() };
        oracle_run(&model, options).run(&file, &items, |_| {}).unwrap();
        timeless(&file).split_once('\n').unwrap().1.to_owned()
    };
    let expected = run(1, 16);
    for (threads, lanes) in [(3, 16), (16, 16), (3, 1), (3, 3)] {
        assert_eq!(run(threads, lanes), expected, "{threads} threads, {lanes} lanes");
    }
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is() {
    let model = model();
    let (folder, file) = scratch();
    let context = model.config().max_positions;
    let refused = |run: OracleRun<'_>, items: &[Item]| {
        let error = run.run(&file, items, |_| panic!("nothing should begin")).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    let one = |prompt: Vec<u32>| vec![Item { id: 1, prompt, ..Item::default() }];
    let good = items(2);
    let with = |options| oracle_run(&model, options);
    let named = |name: &'static str| Candidate::new(name, || FullDepth);
    let measure = || Measure::output("hash", hash);
    let greedy = Some(Sampling::default());
    let cases = [
        (refused(with(options()), &[]), "the items: expected at least one"),
        (refused(with(options()), &one(vec![])), "item 1: prompt 0 is empty"),
        (refused(with(options()), &one(vec![1; context + 1])), "the model's context is"),
        (refused(with(options()), &one(vec![1_000_000])), "holds token 1000000"),
        (refused(with(options()), &[good[0].clone(), good[0].clone()]), "item 100 comes twice"),
        (refused(with(OracleOptions { lanes: 0, ..options() }), &good), "lanes: expected at least 1"),
        (refused(with(OracleOptions { halves: greedy, ..options() }), &good), "a temperature above 0"),
        (refused(with(OracleOptions { null_depths: vec![99], ..options() }), &good), "found 99"),
        (refused(with(OracleOptions { null_depths: vec![2, 2], ..options() }), &good), "2 twice"),
        (
            refused(with(OracleOptions { null_depths: vec![2], cost: Cost::Gigaflops, ..options() }), &good),
            "unless costs are counted in layers",
        ),
        (refused(OracleRun::new(&model, vec![], measure()), &good), "the candidates: expected at least one"),
        (refused(OracleRun::new(&model, vec![named("a"), named("a")], measure()), &good), "\"a\" twice"),
        (refused(OracleRun::new(&model, vec![named("")], measure()), &good), "an empty one"),
        (
            refused(OracleRun::new(&model, candidates(), Measure::Likelihood), &one(vec![1])),
            "at least 1 tokens, found 0",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "{found:?} should say {expected:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file");
}

#[test]
fn random_routes_have_their_depth_and_differ() {
    let (model, (_folder, file)) = (model(), scratch());
    let items = items(5);
    let halves = Some(Sampling { temperature: 0.8, ..Sampling::default() });
    let options = OracleOptions { null_depths: vec![2, 3], halves, ..options() };
    let results = oracle_run(&model, options).run(&file, &items, |_| {}).unwrap();
    let (evidence, null) = (results.evidence().unwrap(), results.null().unwrap().unwrap());
    assert_eq!(null.candidates().len(), 2 * evidence.candidates().len());
    for cell in results.items.iter().flat_map(|item| &item.null) {
        let depth = if cell.candidate.starts_with("random:2#") { 2.0 } else { 3.0 };
        assert_eq!(cell.cost, depth, "{}", cell.candidate);
    }
    // Depth 3 leaves a choice, and the quality depends on every token, so other routes show as other qualities.
    let routes = results.items.iter().flat_map(|item| item.null.iter().filter(|cell| cell.cost == 3.0));
    let distinct: std::collections::HashSet<u64> = routes.map(|cell| cell.quality.to_bits()).collect();
    assert!(distinct.len() > results.items.len(), "{} different qualities", distinct.len());
    let baselines = Comparison::new(&evidence, 2.5).null(&null).run().unwrap();
    let rows = [baselines.null_best, baselines.null_mean, baselines.cross_fitted, baselines.label_free];
    assert!(rows.iter().all(Option::is_some));
}

#[test]
fn replayed_quality_and_depth_are_the_tables() {
    let (model, (_folder, file)) = (model(), scratch());
    let items = items(10);
    let results = oracle_run(&model, options()).run(&file, &items, |_| {}).unwrap();
    let evidence = results.evidence().unwrap();
    let allocator = Allocator::new(&evidence).unwrap();
    for budget in [1.5, 2.0, 2.7] {
        let allocation = allocator.most_quality(budget).unwrap();
        assert!(allocation.counts(&evidence).iter().filter(|count| **count > 0).count() > 1, "a mix");
        let mut oracle = OracleController::new(&evidence, &allocation, &candidates()).unwrap();
        let (mut quality, mut depth) = (0.0, 0.0);
        // The items run in batches, in another order than in the table.
        let mut order = items.clone();
        order.rotate_left(3);
        for batch in order.chunks(4) {
            let prompts: Vec<Vec<u32>> = batch.iter().map(|item| item.prompt.clone()).collect();
            let options = GenerateOptions {
                sequence_ids: batch.iter().map(|item| item.id).collect(),
                ..alone(&batch[0], SEED, Sampling::default())
            };
            let (done, report) = generate(&model, &mut oracle, &prompts, options).unwrap().finish().unwrap();
            for ((item, completion), sequence) in batch.iter().zip(&done).zip(&report.sequences) {
                let (reference, reference_tokens) = (&item.reference[..], &item.reference_tokens[..]);
                quality +=
                    hash(&ScoringInput { item, text: "", tokens: &completion.tokens, reference, reference_tokens });
                depth += sequence.depth().unwrap();
            }
        }
        assert!((quality / 10.0 - allocation.mean_quality).abs() < 1e-6, "{budget}");
        assert!((depth / 10.0 - allocation.mean_cost).abs() < 1e-9, "{budget}");
    }
    // A sequence without a choice.
    let allocation = allocator.most_quality(2.0).unwrap();
    let oracle = OracleController::new(&evidence, &allocation, &candidates()).unwrap();
    assert!(oracle.choice(100).is_some() && oracle.choice(7).is_none());
    let options = GenerateOptions { sequence_ids: vec![7], ..GenerateOptions::default() };
    let error = generate(&model, oracle, &[vec![1, 2]], options).unwrap_err();
    assert!(error.to_string().contains("sequence 7 has no controller"), "{error}");
    let error = OracleController::new(&evidence, &allocation, &[]).unwrap_err();
    assert!(error.to_string().contains("among those given"), "{error}");
}

#[test]
fn the_controller_chooses_at_run_time_what_its_predictor_chooses() {
    let (model, (_folder, file)) = (model(), scratch());
    let items = items(24);
    let fixed = || {
        vec![
            Candidate::full(),
            Candidate::new("uniform:3", || UniformSkip::new(3)),
            Candidate::new("exit:1", || ExitAfter(1)),
        ]
    };
    let run = OracleRun::new(&model, fixed(), Measure::Likelihood).options(options());
    let evidence = run.run(&file, &items, |_| {}).unwrap().evidence().unwrap();
    let states = PromptStates::measure(&model, &items, 2).unwrap();
    let predictor = PromptPredictor::fit(&evidence, &states, 2.5).unwrap();
    let predictor: PromptPredictor = serde_json::from_str(&serde_json::to_string(&predictor).unwrap()).unwrap();
    let mut controller = PredictorController::new(predictor.clone(), &fixed()).unwrap();
    for batch in items.chunks(7) {
        let prompts: Vec<Vec<u32>> = batch.iter().map(|item| item.prompt.clone()).collect();
        let sequence_ids = batch.iter().map(|item| item.id).collect();
        let options =
            GenerateOptions { sequence_ids, stop_tokens: Vec::new(), ..alone(&batch[0], 0, Sampling::default()) };
        let mut generation = generate(&model, &mut controller, &prompts, options).unwrap();
        generation.next().unwrap().unwrap();
        // A prompt of one token has an empty state, and gets the choice for the mean state.
        let choices: Vec<usize> = batch.iter().map(|item| predictor.choose(states.get(item.id).unwrap())).collect();
        for (item, choice) in batch.iter().zip(&choices) {
            let name = predictor.candidates()[*choice].as_str();
            assert_eq!(generation.controller().choice(item.id), Some(name));
        }
        let (_, report) = generation.finish().unwrap();
        assert_eq!(report.decode.host_reads, 1);
        for ((item, choice), sequence) in batch.iter().zip(choices).zip(&report.sequences) {
            let depth = [model.layers().len() as f64, 3.0, 1.0][choice];
            assert_eq!(sequence.depth(), Some(depth));
            assert_eq!(controller.choice(item.id), None, "the sequence has left");
        }
    }
    let outcomes = PredictorTrial { folds: 4, seed: 1 }.run(&evidence, &states, 2.5).unwrap();
    let baselines = Comparison::new(&evidence, 2.5).controller("prompt predictor", outcomes).run().unwrap();
    assert!(baselines.controllers[0].regret.unwrap().estimate >= -1e-9);
}
