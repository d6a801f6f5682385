//! Equalities between different ways to compute the same results.

use crate::support::{
    Routes, SMALL, SPECS, asked_for, assert_close, by_token, config, device, masked, random, rows, skipped, small,
    small_configs, some,
};
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, Resources};
use dynlayer::inference::report::{PhaseReport, SequenceReport};
use dynlayer::inference::{
    Action, ControlFrom, Controller, ControllerError, Decision, Event, GenerateOptions, KvPolicy, PartialSkips, Phase,
    RunSettings, ScoreItem, ScoreOptions, ScoredSequence, Scores, Site, Stop, conformance, controller_fn, generate,
    score, score_batch, score_each,
};
use dynlayer::model::WeightDtype;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const LAYERS: usize = 5;

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Run),
        3 => Just(Action::Skip),
        1 => Just(Action::SkipAttention),
        1 => Just(Action::SkipMlp),
        1 => Just(Action::Exit),
    ]
}

fn routes() -> impl Strategy<Value = Routes> {
    prop::collection::vec(prop::collection::vec(action(), LAYERS), 1..5)
}

fn tokens(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..97, lengths)
}

fn policy() -> impl Strategy<Value = KvPolicy> {
    prop::sample::select(KvPolicy::ALL.to_vec())
}

fn skips() -> impl Strategy<Value = PartialSkips> {
    prop::sample::select(vec![PartialSkips::RunAll, PartialSkips::Gather, PartialSkips::Modelled])
}

fn control() -> impl Strategy<Value = ControlFrom> {
    prop::sample::select(ControlFrom::ALL.to_vec())
}

fn last_prompt_token() -> ScoreOptions {
    ScoreOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        ..ScoreOptions::default()
    }
}

proptest! {
    #![proptest_config(crate::support::cases(96))]

    /// Skipped work changes nothing: the engine, with one cached pass per token, against a reference that runs
    /// everything and masks, in the same passes and in one.
    #[test]
    fn skipped_equals_masked(
        routes in routes(), prompt in tokens(1..24), continuation in tokens(1..8), policy in policy(),
        config in small_configs(),
    ) {
        let model = random(&config, &device());
        let mut options = last_prompt_token();
        options.run.kv_policy = policy;
        let found = skipped(&model, &routes, &prompt, &continuation, &options);
        for whole in [false, true] {
            assert_close(&found, &masked(&model, &routes, &prompt, &continuation, whole, policy == KvPolicy::Omit));
        }
    }

    /// `Deferred` computes the keys and values of `Propagate`, only later.
    #[test]
    fn deferred_equals_propagated(
        routes in routes(), prompt in tokens(1..24), continuation in tokens(1..10), control in control(),
        config in small_configs(),
    ) {
        let model = random(&config, &device());
        let run = |kv_policy| {
            let run = RunSettings { kv_policy, control_from: control, ..RunSettings::default() };
            let options = ScoreOptions { run, ..ScoreOptions::default() };
            skipped(&model, &routes, &prompt, &continuation, &options)
        };
        assert_close(&run(KvPolicy::Deferred), &run(KvPolicy::Propagate));
    }

    /// All policies agree if a layer's attention never runs again once it was skipped, as nothing reads the missing
    /// entries.
    #[test]
    fn policies_agree_where_the_route_is_fixed(
        route in prop::collection::vec(action(), LAYERS), prompt in tokens(1..24), continuation in tokens(1..8),
        config in small_configs(),
    ) {
        let model = random(&config, &device());
        let run = |kv_policy| {
            let mut options = last_prompt_token();
            options.run.kv_policy = kv_policy;
            skipped(&model, &vec![route.clone()], &prompt, &continuation, &options)
        };
        assert_close(&run(KvPolicy::Deferred), &run(KvPolicy::Propagate));
        assert_close(&run(KvPolicy::Omit), &run(KvPolicy::Propagate));
    }

    /// Each row of a batch has the logits and counts that it has alone: one to eight rows of different lengths, with
    /// given tokens and different routes, which stop at different times.
    #[test]
    fn mixed_batch_equals_solo(
        items in prop::collection::vec((tokens(1..16), tokens(0..8), routes()), 1..9),
        policy in policy(), control in control(), skips in skips(), config in small_configs(),
    ) {
        let model = random(&config, &device());
        let run =
            RunSettings { kv_policy: policy, control_from: control, partial_skips: skips, ..RunSettings::default() };
        let options = |sequence_ids| ScoreOptions { run, keep_logits: true, keep_hidden: true, sequence_ids };
        let controller = || controller_fn(|site| {
            Decision::per_row(site.rows().iter().map(|row| {
                let (_, _, routes) = &items[row.id as usize];
                routes[row.generated % routes.len()][site.layer()]
            }))
        });
        let ids: Vec<u64> = (0..items.len() as u64).collect();
        let texts: Vec<ScoreItem> =
            items.iter().map(|(p, c, _)| ScoreItem { prompt: p.clone(), continuation: c.clone() }).collect();
        let together = score_batch(&model, controller(), &texts, &options(ids.clone())).unwrap();
        for (i, item) in texts.iter().enumerate() {
            let (alone, solo) =
                score(&model, controller(), &item.prompt, &item.continuation, &options(vec![ids[i]])).unwrap();
            let row = &together.sequences[i];
            let logits = |s: &ScoredSequence| s.tokens.iter().map(|t| t.logits.clone()).collect::<Vec<_>>();
            assert_close(&logits(row), &logits(&alone));
            let hidden = |s: &ScoredSequence| -> Vec<Vec<f32>> {
                s.tokens.iter().map(|t| t.hidden.clone().unwrap().into_data().try_into_vec_as::<f32>().unwrap()).collect()
            };
            assert_close(&hidden(row), &hidden(&alone));
            let routes = |s: &ScoredSequence| s.tokens.iter().map(|t| t.route.clone()).collect::<Vec<_>>();
            prop_assert_eq!(routes(row), routes(&alone));
            let (row, alone) = (together.report.sequences[i], solo.sequences[0]);
            prop_assert_eq!((row.prefill.nominal, row.decode.nominal), (alone.prefill.nominal, alone.decode.nominal));
            // Alone, a row runs exactly what it asked for; in a batch only gathering guarantees that.
            prop_assert_eq!(alone.decode.executed.sublayers(), alone.decode.nominal.sublayers());
            if skips == PartialSkips::Gather {
                prop_assert_eq!(row.decode.executed.sublayers(), row.decode.nominal.sublayers());
            }
        }
    }

    /// One pass over a text agrees with one pass per token.
    #[test]
    fn cached_equals_uncached(text in tokens(2..30), cut in 1usize..29, config in small_configs()) {
        let model = random(&config, &device());
        let cut = cut.min(text.len() - 1);
        let mut cache = model.cache(1, text.len());
        let mut found = Vec::new();
        for range in std::iter::once(0..cut).chain((cut..text.len()).map(|i| i..i + 1)) {
            let frame = model.frame(&cache, &[0], &[range.clone().collect()]);
            let hidden = model.forward(model.tokens(&[&text[range]]), &frame, &mut cache);
            found.extend(rows(model.logits(hidden)));
        }
        let mut cache = model.cache(1, text.len());
        let frame = model.frame(&cache, &[0], &[(0..text.len()).collect()]);
        let hidden = model.forward(model.tokens(&[&text]), &frame, &mut cache);
        assert_close(&found, &rows(model.logits(hidden)));
    }

    /// Truncated tokens leave no trace.
    #[test]
    fn truncation_forgets(
        text in tokens(4..20), keep in 1usize..3, wrong in tokens(1..6), config in small_configs(),
    ) {
        let model = random(&config, &device());
        let run = |detour: bool| {
            let mut cache = model.cache(1, 40);
            let pass = |cache: &mut _, tokens: &[u32], start: usize| {
                let frame = model.frame(cache, &[0], &[(start..start + tokens.len()).collect()]);
                rows(model.logits(model.forward(model.tokens(&[tokens]), &frame, cache)))
            };
            pass(&mut cache, &text[..keep], 0);
            if detour {
                pass(&mut cache, &wrong, keep);
                cache.truncate(0, keep);
            }
            pass(&mut cache, &text[keep..], keep)
        };
        prop_assert_eq!(run(true), run(false));
    }

    /// Rows of a batch generate the tokens that they generate alone, with different lengths, routes and stopping times.
    /// Choice is greedy, so a difference would show in all later tokens.
    #[test]
    fn batch_equals_solo(
        prompts in prop::collection::vec(tokens(1..12), 2..5),
        all in prop::collection::vec(routes(), 4),
        stop in 0u32..97,
        control in control(),
        policy in policy(),
        config in small_configs(),
    ) {
        let model = random(&config, &device());
        let run = RunSettings { kv_policy: policy, control_from: control, ..RunSettings::default() };
        let options = |ids: Vec<u64>| GenerateOptions {
            run,
            max_new_tokens: 6,
            stop_tokens: vec![stop, stop / 2],
            sequence_ids: ids,
            ..GenerateOptions::default()
        };
        let by_id: HashMap<u64, &Routes> = all.iter().enumerate().map(|(i, r)| (i as u64, r)).collect();
        let controller = || controller_fn(|site| {
            Decision::per_row(site.rows().iter().map(|row| {
                let routes = by_id[&row.id];
                routes[row.generated % routes.len()][site.layer()]
            }))
        });
        let ids: Vec<u64> = (0..prompts.len() as u64).collect();
        let (together, report) = generate(&model, controller(), &prompts, options(ids.clone())).unwrap().finish().unwrap();
        for (i, prompt) in prompts.iter().enumerate() {
            let alone = generate(&model, controller(), std::slice::from_ref(prompt), options(vec![ids[i]])).unwrap();
            let (alone, solo) = alone.finish().unwrap();
            prop_assert_eq!(&alone[0], &together[i]);
            prop_assert_eq!(asked_for(&solo.sequences[0]), asked_for(&report.sequences[i]));
        }
    }
}

/// Skips layers by what it has observed of a sequence.
#[derive(Default)]
struct Observing(HashMap<u64, usize>);

impl Controller for Observing {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let action = |seen: usize| if (seen + site.layer()).is_multiple_of(3) { Action::Skip } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(|row| action(self.0.get(&row.id).copied().unwrap_or_default()))))
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        site.rows().iter().for_each(|row| *self.0.entry(row.id).or_default() += row.tokens);
        Ok(())
    }
}

/// Under controllers of every text form that needs no file, and one that goes by what it observes of prompts, the scores
/// after prompts that ran once are those after prompts that ran for it alone: tokens, logits, states, routes and work.
#[test]
fn prompts_of_several_controllers_run_once() {
    let model = conformance::small_model(&device()).unwrap();
    let texts: Vec<Vec<u32>> = vec![(0..60).map(|i| i * 7 % 64).collect()];
    let resources = Resources::texts(Resources::default(), texts);
    let build = || {
        let built = SPECS.iter().map(|text| text.parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap());
        let own = [Box::new(by_token()) as Box<dyn Controller + Send>, Box::new(Observing::default())];
        built.chain(own).collect::<Vec<_>>()
    };
    let item = |prompt: &[u32], continuation: &[u32]| ScoreItem {
        prompt: prompt.to_vec(),
        continuation: continuation.to_vec(),
    };
    let items =
        [item(&[5, 6, 7], &[8, 9, 1, 2]), item(&[4], &[3]), item(&[9, 9, 2, 2, 1, 7], &[]), item(&[1, 2], &[3, 4])];
    let policies =
        ControlFrom::ALL.iter().flat_map(|control| KvPolicy::ALL.iter().map(move |policy| (*control, *policy)));
    for (control_from, kv_policy) in some(policies, 2) {
        // Prompts take turns, in chunks.
        let run = RunSettings { control_from, kv_policy, prefill_chunk: 2, ..RunSettings::default() };
        let options = ScoreOptions { run, keep_logits: true, keep_hidden: true, sequence_ids: vec![3, 1, 4, 15] };
        let mut shared = build();
        let each = score_each(&model, &mut shared, &items, &options).unwrap();
        let each: Vec<Scores> = each.collect::<Result<_, _>>().unwrap();
        assert_eq!(each.len(), SPECS.len() + 2);
        for ((found, alone), name) in each.iter().zip(build()).zip(SPECS.iter().chain([&"by token", &"observing"])) {
            let expected = score_batch(&model, alone, &items, &options).unwrap();
            let kept = |scores: &Scores| {
                let tokens = scores.sequences.iter().flat_map(|sequence| &sequence.tokens);
                let kept = tokens.map(|token| {
                    let hidden = token.hidden.clone().unwrap().into_data().try_into_vec_as::<f32>().unwrap();
                    (token.token, token.route.clone(), token.logits.clone(), hidden)
                });
                kept.collect::<Vec<_>>()
            };
            assert!(kept(found) == kept(&expected), "{name}, {control_from}, {kv_policy}");
            let work = |scores: &Scores| {
                let of = |s: &SequenceReport| (s.id, s.prompt_tokens, s.generated_tokens, s.prefill, s.decode);
                let rows = scores.report.sequences.iter().map(of).collect::<Vec<_>>();
                let phase = |phase: &PhaseReport| (phase.passes, phase.spent, phase.launches, phase.host_reads);
                (rows, phase(&scores.report.prefill), phase(&scores.report.decode), scores.report.owed_bytes)
            };
            assert_eq!(work(found), work(&expected), "{name}, {control_from}, {kv_policy}");
        }
    }
}

/// Notes the phases of its passes, and may refuse the model or fail when it decides.
struct Noting {
    name: &'static str,
    fails: &'static str,
    notes: Arc<Mutex<Vec<(&'static str, Phase)>>>,
}

impl Controller for Noting {
    fn decide(&mut self, _site: &Site<'_>) -> Result<Decision, ControllerError> {
        if self.fails == "decide" { Err(ControllerError::other(std::fmt::Error)) } else { Ok(Action::Run.into()) }
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(_) if self.fails == "start" => Err(ControllerError::other(std::fmt::Error)),
            Event::Pass(pass) => {
                self.notes.lock().unwrap().push((self.name, pass.phase()));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn controllers_see_prompts_together_and_fail_alone() {
    let model = conformance::small_model(&device()).unwrap();
    let items = [ScoreItem { prompt: vec![1, 2, 3], continuation: vec![4, 5] }];
    let score = |fails: [&'static str; 2], control_from| {
        let notes = Arc::<Mutex<Vec<_>>>::default();
        let noting = |(name, fails)| Noting { name, fails, notes: notes.clone() };
        let mut controllers = ["a", "b"].into_iter().zip(fails).map(noting).collect::<Vec<_>>();
        let run = RunSettings { control_from, ..RunSettings::default() };
        let scores = score_each(&model, &mut controllers, &items, &ScoreOptions { run, ..ScoreOptions::default() });
        let found = scores.map(|each| each.map(|scores| scores.is_ok()).collect::<Vec<_>>());
        (found.ok(), notes.lock().unwrap().clone())
    };
    let (prompt, token) = (Phase::Prefill, Phase::Decode);
    let (found, notes) = score(["", ""], ControlFrom::LastPromptToken);
    assert_eq!(found, Some(vec![true, true]));
    let expected = [("a", prompt), ("b", prompt), ("a", token), ("a", token), ("b", token), ("b", token)];
    assert_eq!(notes, expected);
    let (_, notes) = score(["", ""], ControlFrom::All);
    assert_eq!(notes, [("a", prompt), ("a", token), ("b", prompt), ("b", token)]);
    assert_eq!(score(["decide", ""], ControlFrom::LastPromptToken).0, Some(vec![false, true]));
    assert_eq!(score(["", "start"], ControlFrom::LastPromptToken).0, None);
    let nobody: &mut [FullDepth] = &mut [];
    assert_eq!(score_each(&model, nobody, &items, &ScoreOptions::default()).unwrap().count(), 0);
}

#[test]
fn f16_weights_stay_close_to_f32() {
    if crate::support::lacks_f16() {
        return;
    }
    let device = device();
    let run = |dtype| {
        let model = config(SMALL).init(7, dtype, &device).unwrap();
        let full: Routes = vec![vec![Action::Run; LAYERS]];
        skipped(&model, &full, &[1, 2, 3, 4], &[5, 6, 7], &ScoreOptions::default())
    };
    // Eleven bits of mantissa: half a unit is 5e-4 per weight, which averages out over a sum.
    crate::support::assert_close_to(&run(WeightDtype::F16), &run(WeightDtype::F32), 5e-3);
}

#[test]
fn full_depth_through_the_engine_is_the_model() {
    let model = small(&device());
    let prompt = [3, 1, 4, 1, 5];
    let options = GenerateOptions { max_new_tokens: 1, ..GenerateOptions::default() };
    let (done, _) = generate(&model, FullDepth, &[prompt.to_vec()], options).unwrap().finish().unwrap();
    let mut cache = model.cache(1, 5);
    let frame = model.frame(&cache, &[0], &[(0..5).collect()]);
    let logits = rows(model.logits(model.forward(model.tokens(&[&prompt]), &frame, &mut cache)));
    let best = logits[4].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    assert_eq!(done[0].tokens, [best as u32]);
    assert_eq!(done[0].stop, Some(Stop::MaxNewTokens));
}
