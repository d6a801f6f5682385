//! Runs that panic, fail or are left unfinished, and their effect on later runs.

use crate::controllers::chain;
use crate::support::{assert_close, device, filled, rows, small, some};
use burn::tensor::Tensor;
use dynlayer::inference::controllers::{ControllerSpec, ExitAfter, FullDepth, Recorded, Resources};
use dynlayer::inference::{
    Action, Completion, ControlFrom, Controller, ControllerError, Decision, Event, GenerateError, GenerateOptions,
    KvPolicy, RunSettings, ScoreItem, ScoreOptions, Site, TokenProblem, controller_fn, generate, score, score_batch,
};
use dynlayer::model::Llama;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Controllers that keep state from site to site.
const STATEFUL: [&str; 8] = [
    "budgeted:2.5:confidence:0.02",
    "confidence:0.02,patience=2",
    "entropy:4.05",
    "saturation:0.8",
    "random:3",
    "schedule:5..2,to=9",
    "warmup:2:budgeted:3:bernoulli:0.5",
    "uniform:3",
];

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![1, 2, 3], vec![40, 41, 42, 43, 44], vec![9]]
}

fn options(control_from: ControlFrom) -> GenerateOptions<'static> {
    GenerateOptions {
        run: RunSettings { control_from, ..RunSettings::default() },
        max_new_tokens: 5,
        ..GenerateOptions::default()
    }
}

fn run(model: &Llama, controller: impl Controller, control_from: ControlFrom) -> Vec<Completion> {
    generate(model, controller, &prompts(), options(control_from)).unwrap().finish().unwrap().0
}

/// A controller that panics at one call, after the controller inside has decided.
struct Panics<C> {
    inner: C,
    /// The number of calls before that.
    left: usize,
}

impl<C: Controller> Controller for Panics<C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let answer = self.inner.decide(site);
        self.left = self.left.checked_sub(1).expect("by intent");
        answer
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.inner.on(event)
    }
}

/// A batch that was left in the middle of a pass reports that once, and nothing after it.
#[test]
fn a_generation_does_not_go_on_after_a_panic() {
    let model = small(&device());
    for (control_from, left) in [
        (ControlFrom::LastPromptToken, 3), // in the prompt's last pass
        (ControlFrom::All, 0),             // in the first
        (ControlFrom::FirstGenerated, 7),  // in the second pass after the prompt's
    ] {
        let panicked = || {
            let controller = Panics { inner: FullDepth, left };
            let mut generation = generate(&model, controller, &prompts(), options(control_from)).unwrap();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                for event in generation.by_ref() {
                    event.unwrap();
                }
            }));
            assert!(caught.is_err());
            generation
        };
        let mut generation = panicked();
        assert!(matches!(generation.next(), Some(Err(GenerateError::Interrupted))));
        assert!(generation.next().is_none(), "nothing comes after an error");
        assert!(matches!(generation.finish(), Err(GenerateError::Interrupted)));
        assert!(matches!(panicked().finish(), Err(GenerateError::Interrupted)));
    }
}

/// `finish` reports an interrupted run even if the caller missed the error of the step.
#[test]
fn a_generation_does_not_finish_after_an_error() {
    let model = small(&device());
    let broken =
        controller_fn(
            |site: &Site<'_>| {
                if site.rows()[0].generated == 2 { Decision::PerRow(Vec::new()) } else { Action::Run.into() }
            },
        );
    let mut generation = generate(&model, broken, &prompts(), options(ControlFrom::FirstGenerated)).unwrap();
    assert!(generation.by_ref().any(|event| event.is_err()));
    assert!(matches!(generation.finish(), Err(GenerateError::Interrupted)));
}

/// A panic or a dropped iterator in the middle of a run leaves nothing behind, neither in the model nor in a controller
/// that begins again.
#[test]
fn controllers_begin_afresh_after_a_run_that_did_not_end() {
    let model = small(&device());
    for spec in some(STATEFUL, 3) {
        let build = || spec.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).unwrap();
        for control_from in some(ControlFrom::ALL, 1) {
            let expected = run(&model, build(), control_from);
            // At a layer in the middle, of a pass in the middle.
            let mut used = Panics { inner: build(), left: 8 };
            let caught = catch_unwind(AssertUnwindSafe(|| run(&model, &mut used, control_from)));
            assert!(caught.is_err(), "{spec}: it was asked too rarely to panic");
            assert_eq!(run(&model, &mut used.inner, control_from), expected, "{spec}, after a panic");

            let mut half = generate(&model, &mut used.inner, &prompts(), options(control_from)).unwrap();
            for _ in 0..4 {
                half.next().unwrap().unwrap(); // in the middle of a step's tokens
            }
            drop(half);
            assert_eq!(run(&model, &mut used.inner, control_from), expected, "{spec}, after a dropped run");
        }
    }
}

/// A recording that ends in the middle of a pass is not saved, and the next run begins another.
#[test]
fn a_recording_after_a_panic() {
    let model = small(&device());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let mut recorded = Recorded::new(Panics { inner: FullDepth, left: 7 });
    let caught = catch_unwind(AssertUnwindSafe(|| run(&model, &mut recorded, ControlFrom::FirstGenerated)));
    assert!(caught.is_err());
    let error = recorded.recording().save(&file).unwrap_err();
    assert!(error.to_string().contains("pass 1 of sequence 0 has"), "{error}");
    assert!(!file.exists());
}

/// Exit at layer 0: the head sees the embedding, and every layer is skipped.
#[test]
fn an_exit_before_the_first_layer() {
    let model = small(&device());
    for kv_policy in KvPolicy::ALL {
        for control_from in ControlFrom::ALL {
            let options = ScoreOptions {
                run: RunSettings { kv_policy, control_from, ..RunSettings::default() },
                keep_logits: true,
                ..ScoreOptions::default()
            };
            let items = [
                ScoreItem { prompt: vec![1, 2, 3], continuation: vec![4, 5, 6] },
                ScoreItem { prompt: vec![7], continuation: vec![8] },
            ];
            let scores = score_batch(&model, ExitAfter(0), &items, &options).unwrap();
            let free = usize::from(control_from == ControlFrom::FirstGenerated);
            for (item, sequence) in items.iter().zip(&scores.sequences) {
                let fed = [&item.prompt[item.prompt.len() - 1..], &item.continuation].concat();
                for (input, token) in fed.iter().zip(&sequence.tokens).skip(free) {
                    let expected = rows(model.logits(model.embed(model.tokens(&[&[*input]]))));
                    assert_close(std::slice::from_ref(&token.logits), &expected);
                    assert_eq!(token.route.depth(), 0.0);
                }
            }
        }
    }
}

/// A wrong read ends in an error that names it, before a controller indexes the result by row.
#[test]
fn a_read_that_is_too_short_has_no_result() {
    let model = small(&device());
    let controller = controller_fn(|site: &Site<'_>| {
        let scores = site.read(Tensor::<1>::zeros([1], &site.hidden().device()))?;
        let action = |row: usize| if scores[row] > 0.5 { Action::Exit } else { Action::Run };
        Ok(Decision::per_row((0..site.rows().len()).map(action)))
    });
    // The passes over the prompts have one row each, the first one after them has three.
    let error = generate(&model, controller, &prompts(), options(ControlFrom::All)).unwrap().finish().map(|_| ());
    let error = error.unwrap_err();
    assert!(error.to_string().contains("one number per row to read, 3, found 1"), "{error}");
}

#[test]
fn the_logits_of_no_row_are_none_and_cost_nothing() {
    let model = small(&device());
    let controller = controller_fn(|site: &Site<'_>| {
        assert_eq!(site.exit_logits_of(&[]).dims(), [0, 97]);
        Action::Run
    });
    let (_, report) =
        generate(&model, controller, &[vec![1]], options(ControlFrom::FirstGenerated)).unwrap().finish().unwrap();
    assert_eq!(report.decode.launches.head_products, report.decode.passes);
    assert_eq!(report.decode.spent.nominal.head_products, report.decode.passes);
}

/// A layer whose output is NaN is named by the error of the first controller that reads it.
#[test]
fn a_confidence_that_is_no_number() {
    let model = filled(small(&device()), &["layers.2.post_attention_layernorm".into()], f32::NAN);
    for spec in ["confidence:0.9", "entropy:0.1", "saturation:0.999"] {
        let controller = spec.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).unwrap();
        let error = generate(&model, controller, &[vec![1]], options(ControlFrom::All)).unwrap().finish().map(|_| ());
        let error = error.unwrap_err();
        assert!(matches!(error, GenerateError::Contract { layer: 3, .. }), "{spec}: {error}");
        assert!(error.to_string().contains("expected finite numbers to read, found NaN for row 0"), "{spec}: {error}");
    }
}

#[test]
fn texts_that_cannot_be_scored() {
    let model = small(&device());
    let score = |items: &[ScoreItem], sequence_ids: Vec<u64>| {
        score_batch(&model, FullDepth, items, &ScoreOptions { sequence_ids, ..ScoreOptions::default() }).map(|_| ())
    };
    let item = |prompt: &[u32], continuation: &[u32]| ScoreItem {
        prompt: prompt.to_vec(),
        continuation: continuation.to_vec(),
    };
    assert!(matches!(score(&[], vec![]), Err(GenerateError::EmptyBatch)));
    let empty = score(&[item(&[1], &[2]), item(&[], &[2])], vec![]);
    assert!(matches!(empty, Err(GenerateError::Prompt { prompt: 1, problem: TokenProblem::Empty })));
    let twice = score(&[item(&[1], &[2]), item(&[3], &[2])], vec![8, 8]);
    assert!(matches!(twice, Err(GenerateError::SequenceIds { found: 1, prompts: 2 })));
    let few = score(&[item(&[1], &[2]), item(&[3], &[2])], vec![8]);
    assert!(matches!(few, Err(GenerateError::SequenceIds { found: 1, prompts: 2 })));
    let unknown = score(&[item(&[1], &[97])], vec![]);
    assert!(matches!(unknown, Err(GenerateError::Prompt { problem: TokenProblem::OutOfRange { token: 97, .. }, .. })));
    let long = score(&[item(&[1; 60], &[2; 5])], vec![]);
    assert!(matches!(
        long,
        Err(GenerateError::Prompt { problem: TokenProblem::TooLong { tokens: 65, context: 64 }, .. })
    ));
    score(&[item(&[1], &[]), item(&[3], &[])], vec![]).unwrap();
}

/// Controllers inside a wrapper that forwards no events decide the same if they keep nothing between passes.
#[test]
fn a_wrapper_that_forgets_events() {
    struct Forgetful<C>(C);
    impl<C: Controller> Controller for Forgetful<C> {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            self.0.decide(site)
        }
    }
    let model = small(&device());
    for spec in ["uniform:3", "random:3", "exit:2", "skip:1", "bernoulli:0.5", "schedule:5..2,to=9"] {
        let build = || spec.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).unwrap();
        let (forgot, told) =
            (run(&model, Forgetful(build()), ControlFrom::All), run(&model, build(), ControlFrom::All));
        assert_eq!(forgot, told, "{spec}");
    }
}

/// Errors keep the controller's own reason through every level.
#[test]
fn a_refusal_is_told_with_its_cause() {
    struct Refuses;
    impl Controller for Refuses {
        fn on(&mut self, _: &Event<'_>) -> Result<(), ControllerError> {
            Err(ControllerError::other("no table for this model"))
        }
        fn decide(&mut self, _: &Site<'_>) -> Result<Decision, ControllerError> {
            Ok(Action::Run.into())
        }
    }
    let error = score(&small(&device()), Refuses, &[1], &[2], &ScoreOptions::default()).map(|_| ()).unwrap_err();
    assert_eq!(chain(&error), "the controller gave up: no table for this model");
}
