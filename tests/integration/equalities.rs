//! Equalities between different ways to compute the same results.

use crate::support::{
    Routes, SMALL, asked_for, assert_close, config, device, masked, random, rows, skipped, small, small_configs,
};
use dynlayer::inference::controllers::FullDepth;
use dynlayer::inference::{
    Action, ControlFrom, Decision, GenerateOptions, KvPolicy, PartialSkips, RunSettings, ScoreItem, ScoreOptions,
    ScoredSequence, Stop, controller_fn, generate, score, score_batch,
};
use dynlayer::model::WeightDtype;
use proptest::prelude::*;
use std::collections::HashMap;

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
