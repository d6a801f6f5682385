//! Controllers that wrap other controllers.

use super::{LAYERS, assert_batch_equals_solo, chain, options, prompts, run, small};
use burn::tensor::{Tensor, TensorData};
use dynlayer::inference::controllers::{
    BernoulliSkip, Budgeted, ConfidenceExit, ControllerSpec, Ends, ExitRule, FullDepth, Recorded, Recording, Replayed,
    Resources, UniformSkip, WarmUp,
};
use dynlayer::inference::report::{RunReport, SequenceReport};
use dynlayer::inference::{
    Action, ControlFrom, Controller, ControllerError, Decision, Event, GenerateOptions, Phase, RunSettings,
    ScoreOptions, Site, controller_fn, generate, score,
};
use proptest::prelude::*;

/// The scripted answer of a test controller at one layer.
#[derive(Clone, Copy, Debug)]
enum Answer {
    All(Action),
    /// A different action for each row, from this one on.
    Rows(usize),
    Gate,
}

const ACTIONS: [Action; 5] = [Action::Run, Action::Skip, Action::SkipAttention, Action::SkipMlp, Action::Exit];

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        3 => prop::sample::select(ACTIONS[..4].to_vec()).prop_map(Answer::All),
        1 => Just(Answer::All(Action::Exit)),
        3 => (0usize..5).prop_map(Answer::Rows),
        2 => Just(Answer::Gate),
    ];
    prop::collection::vec(answer, 1..40)
}

/// Gives scripted answers in turn.
fn made_up(answers: Vec<Answer>) -> impl Controller {
    let mut turn = 0;
    controller_fn(move |site: &Site<'_>| {
        turn += 1;
        let rows = site.rows().len();
        match answers[turn % answers.len()] {
            Answer::All(action) => action.into(),
            Answer::Rows(first) => Decision::per_row((0..rows).map(|row| ACTIONS[(first + row) % 5])),
            Answer::Gate => {
                let tokens = site.hidden().dims()[1];
                Decision::Gate(Tensor::ones([rows, tokens], &site.hidden().device()))
            }
        }
    })
}

proptest! {
    #![proptest_config(crate::support::cases(96))]

    /// No sequence ever exceeds its budget, whatever the controller inside answers.
    #[test]
    fn a_budget_holds_at_every_pass(
        answers in answers(),
        budget in (0u16..24).prop_map(|quarters| f32::from(quarters) / 4.0),
        from in prop::sample::select(ControlFrom::ALL.to_vec()),
    ) {
        let model = small();
        let controller = Budgeted::new(budget, made_up(answers));
        let (done, _) = run(&model, controller, &prompts(), options(vec![], from));
        // By default the first token comes from a pass that is not controlled.
        let free = usize::from(from == ControlFrom::FirstGenerated);
        let mut some = false;
        for done in &done {
            let mut spent = 0.0;
            for (pass, route) in done.routes.iter().skip(free).enumerate() {
                spent += route.depth();
                some = true;
                prop_assert!(spent <= f64::from(budget) * (pass + 1) as f64, "{spent} after {} passes", pass + 1);
            }
        }
        prop_assert!(some);
    }

    /// A budget that is never used up changes nothing.
    #[test]
    fn a_budget_of_all_layers_changes_nothing(answers in answers()) {
        let model = small();
        let o = || options(vec![], ControlFrom::LastPromptToken);
        let plain = run(&model, made_up(answers.clone()), &prompts(), o()).0;
        let held = run(&model, Budgeted::new(LAYERS as f32, made_up(answers)), &prompts(), o()).0;
        prop_assert_eq!(plain, held);
    }
}

#[test]
fn a_budget_is_spent_and_what_is_left_is_kept_for_later() {
    let model = small();
    let routes = |budget: f32, inner: Box<dyn Controller>| {
        let scored = score(
            &model,
            Budgeted::new(budget, inner),
            &[1, 2],
            &[3, 4, 5, 6, 7],
            &ScoreOptions {
                run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
                ..ScoreOptions::default()
            },
        );
        scored.unwrap().0.tokens.iter().map(|token| token.route.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(routes(2.5, Box::new(FullDepth)), ["##...", "###..", "##...", "###..", "##..."]);
    // Three passes save, the fourth spends.
    let frugal = controller_fn(|site| if site.rows()[0].generated < 3 { Action::Exit } else { Action::Run });
    assert_eq!(routes(1.0, Box::new(frugal)), [".....", ".....", ".....", "####.", "#...."]);
    // Sublayers cost half a layer.
    let attention = controller_fn(|_| Action::SkipMlp);
    assert_eq!(routes(1.5, Box::new(attention))[..2], ["aaa..", "aaa.."]);
}

#[test]
fn a_gate_that_does_not_fit_becomes_actions() {
    let model = small();
    let gate = |site: &Site<'_>| Decision::Gate(Tensor::full([site.rows().len(), 1], 0.5, &site.hidden().device()));
    let o = || options(vec![], ControlFrom::LastPromptToken);
    let (done, _) = run(&model, Budgeted::new(2.0, controller_fn(gate)), &prompts(), o());
    assert!(done.iter().flat_map(|done| &done.routes).all(|route| route.to_string() == "##..."));
    // The first two layers run with gates of a half, so the result differs from running them fully.
    let (plain, _) = run(&model, Budgeted::new(2.0, FullDepth), &prompts(), o());
    assert!(plain.iter().zip(&done).any(|(a, b)| a.tokens != b.tokens));
}

#[test]
fn budgets_that_are_none() {
    let model = small();
    for budget in [-1.0, f32::NAN, f32::INFINITY] {
        let error = super::error(&model, Budgeted::new(budget, FullDepth), ControlFrom::All);
        assert!(error.to_string().contains("the budget is"), "{error}");
    }
}

#[test]
fn warming_up_is_at_full_depth() {
    let model = small();
    for from in ControlFrom::ALL {
        let (done, _) = run(&model, WarmUp::new(3, UniformSkip::new(2)), &prompts(), options(vec![], from));
        for done in &done {
            for (token, route) in done.routes.iter().enumerate() {
                assert_eq!(route.to_string(), if token < 3 { "#####" } else { "#...#" }, "token {token}");
            }
        }
    }
    let (plain, _) = run(&model, UniformSkip::new(2), &prompts(), options(vec![], ControlFrom::All));
    let (never, _) = run(&model, WarmUp::new(0, UniformSkip::new(2)), &prompts(), options(vec![], ControlFrom::All));
    assert_eq!(plain, never);
}

#[test]
fn the_controller_inside_is_asked_while_rows_warm_up() {
    let model = small();
    let mut asked = 0;
    let inner = controller_fn(|_| {
        asked += 1;
        Action::Skip
    });
    let options = ScoreOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        ..ScoreOptions::default()
    };
    score(&model, WarmUp::new(2, inner), &[1, 2], &[3, 4, 5], &options).unwrap();
    assert_eq!(asked, 3 * LAYERS);
}

/// Under `WarmUp` the gates of a row are open until the row has warmed up.
#[test]
fn a_gate_is_open_while_rows_warm_up() {
    let model = small();
    let half = |site: &Site<'_>| Decision::Gate(Tensor::full([site.rows().len(), 1], 0.5, &site.hidden().device()));
    let o = |from| GenerateOptions { max_new_tokens: 4, ..options(vec![], from) };
    let closed = run(&model, WarmUp::new(0, controller_fn(half)), &prompts(), o(ControlFrom::LastPromptToken)).0;
    let open = run(&model, WarmUp::new(9, controller_fn(half)), &prompts(), o(ControlFrom::LastPromptToken)).0;
    let full = run(&model, FullDepth, &prompts(), o(ControlFrom::LastPromptToken)).0;
    assert_eq!(open, full);
    assert!(closed.iter().zip(&full).any(|(a, b)| a.tokens != b.tokens));
}

/// A run and its replay from a recording in a file are the same.
#[test]
fn what_was_recorded_is_replayed() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json");
    let ids = vec![30, 7, u64::MAX, 2];
    for from in ControlFrom::ALL {
        let inners: [Box<dyn Controller>; 4] = [
            Box::new(BernoulliSkip::new(0.5).ends(Ends::Free)),
            Box::new(ConfidenceExit::new(ExitRule::new(0.02))),
            Box::new(UniformSkip::new(3)),
            Box::new(controller_fn(|site| {
                Decision::per_row(
                    site.rows().iter().map(|row| ACTIONS[(row.id as usize % 5 + row.position + site.layer()) % 5]),
                )
            })),
        ];
        for inner in inners {
            let mut recorded = Recorded::new(inner);
            let (first, report) = run(&model, &mut recorded, &prompts(), options(ids.clone(), from));
            recorded.recording().save(&path).unwrap();
            let recording = Recording::load(&path).unwrap();
            assert_eq!(&recording, recorded.recording());
            assert_eq!(recording.sequences().count(), 4);
            let (again, replayed) =
                run(&model, Replayed::new(recording.clone()), &prompts(), options(ids.clone(), from));
            assert_eq!(again, first);
            // The recorded run also computed head products, for the confidence.
            let ran = |report: &RunReport| -> Vec<_> {
                let counts =
                    |s: &SequenceReport| (s.id, s.depth(), s.decode.nominal.attended, s.prefill.nominal.attended);
                report.sequences.iter().map(counts).collect()
            };
            assert_eq!(ran(&replayed), ran(&report));
            assert_eq!(replayed.decode.host_reads, 0);
            for (i, prompt) in prompts().into_iter().enumerate() {
                let (alone, _) = run(&model, Replayed::new(recording.clone()), &[prompt], options(vec![ids[i]], from));
                assert_eq!(alone[0], first[i]);
            }
        }
    }
}

#[test]
fn a_recording_that_does_not_reach() {
    let model = small();
    let (_, mut recorded) = {
        let mut recorded = Recorded::new(UniformSkip::new(3));
        let o = GenerateOptions { max_new_tokens: 3, ..options(vec![], ControlFrom::LastPromptToken) };
        (run(&model, &mut recorded, &[vec![1, 2]], o).0, recorded)
    };
    let recording = recorded.recording().clone();
    let replay = |prompts: &[Vec<u32>], ids: Vec<u64>| {
        let o =
            GenerateOptions { max_new_tokens: 5, stop_tokens: vec![], ..options(ids, ControlFrom::LastPromptToken) };
        let error =
            generate(&model, Replayed::new(recording.clone()), prompts, o).and_then(|run| run.finish().map(|_| ()));
        chain(&error.unwrap_err())
    };
    let short = replay(&[vec![1, 2]], vec![0]);
    assert!(short.contains("3 passes of sequence 0; the run needs pass 3, counted from 0"), "{short}");
    let missing = replay(&[vec![1, 2], vec![3]], vec![0, 8]);
    assert!(missing.contains("no sequence 8"), "{missing}");
    let other = super::error(&model, Replayed::new(Recording::new(7)), ControlFrom::All);
    assert!(chain(&other).contains("7 layers; this model has 5"), "{other}");

    // A second run starts anew.
    run(&model, &mut recorded, &[vec![4]], options(vec![9], ControlFrom::LastPromptToken));
    assert_eq!(recorded.recording().sequences().collect::<Vec<_>>(), [9]);

    let gate = controller_fn(|site| Decision::Gate(Tensor::ones([site.rows().len(), 1], &site.hidden().device())));
    let gate = super::error(&model, Recorded::new(gate), ControlFrom::LastPromptToken);
    assert!(chain(&gate).contains("a gate at layer 0 cannot be recorded"), "{gate}");
}

/// Every combinator forwards all events and the prompt's uncontrolled sites to the controller inside.
#[test]
fn combinators_pass_everything_on() {
    /// Runs every layer, and lists what else it learns.
    #[derive(Default)]
    struct Listing(Vec<&'static str>);
    impl Controller for Listing {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            assert_ne!(site.phase(), Phase::Prefill);
            Ok(Action::Run.into())
        }

        fn observe(&mut self, _: &Site<'_>) -> Result<(), ControllerError> {
            self.0.push("observe");
            Ok(())
        }

        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            self.0.push(match event {
                Event::Start(_) => "start",
                Event::Begin(_) => "begin",
                Event::Pass(_) => "pass",
                Event::Outcome(_) => "outcome",
                Event::Rewind { .. } => "rewind",
                Event::End { .. } => "end",
                _ => "another event",
            });
            Ok(())
        }
    }
    let model = small();
    let o = || options(vec![], ControlFrom::FirstGenerated);
    let (mut alone, mut inner) = (Listing::default(), Listing::default());
    run(&model, &mut alone, &prompts(), o());
    run(&model, Recorded::new(WarmUp::new(1, Budgeted::new(LAYERS as f32, &mut inner))), &prompts(), o());
    assert_eq!(inner.0, alone.0);
    let count = |what| alone.0.iter().filter(|found| **found == what).count();
    let sequences = prompts().len();
    assert_eq!((count("start"), count("begin"), count("end")), (1, sequences, sequences));
    assert_eq!(count("observe"), sequences * LAYERS, "each prompt runs alone");
    assert!(count("pass") > sequences && count("outcome") > 0);
}

#[test]
fn combinators_do_not_depend_on_the_batch() {
    let model = small();
    for spec in ["budgeted:2.5:confidence:0.02", "warmup:2:bernoulli:0.5", "budgeted:3:warmup:2:random:3,ends=free"] {
        let spec: ControllerSpec = spec.parse().unwrap();
        for from in ControlFrom::ALL {
            assert_batch_equals_solo(&model, &spec.to_string(), from, || {
                spec.build(&model, &Resources::new()).unwrap()
            });
        }
    }
}

/// A wrong answer of the controller inside reaches the engine, whose error names it.
#[test]
fn combinators_do_not_hide_a_broken_contract() {
    let model = small();
    let broken = || controller_fn(|_| Decision::PerRow(vec![Action::Run; 9]));
    let gate = || {
        controller_fn(|site| {
            Decision::Gate(Tensor::from_data(TensorData::zeros::<f32, _>([9, 1]), &site.hidden().device()))
        })
    };
    for controller in [
        Box::new(Budgeted::new(3.0, broken())) as Box<dyn Controller>,
        Box::new(WarmUp::new(0, broken())),
        Box::new(Recorded::new(broken())),
        Box::new(Budgeted::new(5.0, gate())),
        Box::new(WarmUp::new(0, gate())),
    ] {
        let error = super::error(&model, controller, ControlFrom::LastPromptToken);
        assert!(error.to_string().contains("broke its contract at layer 0"), "{error}");
    }
}
