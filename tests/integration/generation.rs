//! Reports of generations.

use crate::support::{device, small};
use dynlayer::inference::controllers::{ControllerSpec, ExitAfter, Resources, SkipLayers, UniformSkip};
use dynlayer::inference::report::{Route, RunReport, SequenceSummary};
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{
    Action, ControlFrom, Controller, ControllerError, Decision, GenerateOptions, KvPolicy, PartialSkips, Phase,
    RunSettings, ScoreOptions, Site, Stop, controller_fn, generate, score,
};

fn options(max_new_tokens: usize) -> GenerateOptions<'static> {
    GenerateOptions { max_new_tokens, ..GenerateOptions::default() }
}

#[test]
fn the_report_counts_what_ran() {
    let model = small(&device());
    let prompts = [vec![1, 2, 3], vec![4, 5]];
    let (done, report) = generate(&model, UniformSkip::new(3), &prompts, options(4)).unwrap().finish().unwrap();
    assert_eq!(done.iter().map(|c| c.tokens.len()).collect::<Vec<_>>(), [4, 4]);
    // Prefill: a pass per prompt, five tokens, every layer. Decode: three passes of two rows, three of five layers.
    assert_eq!((report.prefill.passes, report.prefill.spent.tokens), (2, 5));
    assert_eq!((report.prefill.spent.nominal.attention, report.prefill.spent.nominal.mlp), (25, 25));
    assert_eq!((report.decode.passes, report.decode.spent.tokens), (3, 6));
    assert_eq!((report.decode.spent.nominal.attention, report.decode.spent.nominal.kv_projections), (18, 12));
    assert_eq!(report.decode.spent.nominal, report.decode.spent.executed);
    assert_eq!(report.decode.spent.nominal.head_products, 6);
    assert_eq!(report.decode.layers_per_token(), Some(3.0));
    assert_eq!(report.mean_depth(), Some(3.0));
    assert_eq!(report.decode.host_reads, 0);
    // The first token comes from the prompt's pass, at full depth.
    let depths: Vec<f64> = done[0].routes.iter().map(Route::depth).collect();
    assert_eq!(depths, [5.0, 3.0, 3.0, 3.0]);
    let launched: Vec<u64> = report.decode.layers.iter().map(|layer| layer.launched).collect();
    assert_eq!(launched, [3, 0, 3, 0, 3]);
}

/// The work and memory of each policy for three decode passes that skip layers 1 and 3 of five.
#[test]
fn policies_cost_what_they_say() {
    let model = small(&device());
    let run = |kv_policy, controller: &str| {
        let controller = controller.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).unwrap();
        let options = GenerateOptions { run: RunSettings { kv_policy, ..RunSettings::default() }, ..options(4) };
        generate(&model, controller, &[vec![1, 2, 3]], options).unwrap().finish().unwrap().1
    };
    let kv = |report: &RunReport| report.decode.spent.executed.kv_projections;
    let propagate = run(KvPolicy::Propagate, "uniform:3");
    assert_eq!((kv(&propagate), propagate.decode.launches.kv_projections, propagate.owed_bytes), (6, 6, 0));
    let omit = run(KvPolicy::Omit, "uniform:3");
    assert_eq!((kv(&omit), omit.decode.launches.kv_projections, omit.owed_bytes), (0, 0, 0));
    // Never settled: one state of 48 numbers per token and skipped layer.
    let deferred = run(KvPolicy::Deferred, "uniform:3");
    assert_eq!((kv(&deferred), deferred.owed_bytes), (0, 3 * 2 * 48 * 4));
    // An exit leaves one state for all the layers that follow.
    assert_eq!(run(KvPolicy::Deferred, "exit:2").owed_bytes, 3 * 48 * 4);
    // Attended positions: 4, 5 and 6 in three layers, or all but the holes there.
    assert_eq!(propagate.decode.spent.nominal.attended, 3 * (4 + 5 + 6));
    assert_eq!(propagate.decode_summary().work.flops_full_depth, full_flops(&propagate));
}

/// 48 wide, 80 inside the MLP, 6 query and 2 key/value heads of 12, 97 tokens: by hand, for three tokens of five
/// layers.
fn full_flops(report: &RunReport) -> f64 {
    assert_eq!(report.dimensions.bytes_per_weight, 4.0);
    let (attention, mlp, head) = (2 * 48 * 72 + 2 * 48 * 24, 3 * 48 * 80, 48 * 97);
    f64::from(2 * (3 * (5 * (attention + mlp) + head)) + 4 * 72 * 5 * (4 + 5 + 6))
}

/// A layer that is owed six tokens computes them at once when it runs again.
#[test]
fn deferred_work_is_done_when_it_is_needed() {
    let model = small(&device());
    // Layer 1 is skipped in the first three decode passes, and runs in the fourth.
    let controller = controller_fn(|site| {
        let skips = site.layer() == 1 && site.rows()[0].generated < 4;
        if skips { Action::Skip } else { Action::Run }
    });
    let options =
        GenerateOptions { run: RunSettings { kv_policy: KvPolicy::Deferred, ..RunSettings::default() }, ..options(6) };
    let (_, report) = generate(&model, controller, &[vec![1, 2], vec![3]], options).unwrap().finish().unwrap();
    assert_eq!((report.decode.spent.executed.kv_projections, report.decode.launches.kv_projections), (6, 1));
    assert_eq!(report.owed_bytes, 3 * 2 * 48 * 4);
}

/// Per sequence and phase, its work, and its part of the shared costs.
#[test]
fn sequences_are_counted_apart() {
    let model = small(&device());
    // Sequence 4 stops with its second token, after one decode pass; sequence 9 goes on for three. Half of the layers
    // of sequence 9, and a read at every layer.
    let prompts = [vec![1, 2, 3], vec![4, 5]];
    let mut first = generate(&model, UniformSkip::new(3), &prompts[1..], options(2)).unwrap().finish().unwrap().0;
    let controller = controller_fn(|site: &Site<'_>| {
        site.read(site.hidden().clone().narrow(1, 0, 1).narrow(2, 0, 1).squeeze_dims::<1>(&[1, 2]))?;
        let skips = |id: u64| id == 9 && site.layer() % 2 == 1;
        let action = |id| if skips(id) { Action::Skip } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
    });
    let stop = first.remove(0).tokens;
    let o = GenerateOptions {
        run: RunSettings { partial_skips: PartialSkips::Gather, ..RunSettings::default() },
        sequence_ids: vec![9, 4],
        ..options(4)
    };
    let o = GenerateOptions { stop_tokens: stop[1..].to_vec(), ..o };
    let (done, report) = generate(&model, controller, &prompts, o).unwrap().finish().unwrap();
    let summaries = report.sequence_summaries();
    assert_eq!(summaries.iter().map(|s| s.id).collect::<Vec<_>>(), [9, 4]);
    for (summary, done) in summaries.iter().zip(&done) {
        let passes = done.tokens.len() as u64 - 1;
        let (work, id) = (summary.decode, summary.id);
        assert_eq!((work.tokens, work.host_reads), (passes, 5 * passes), "{id}");
        let layers = if id == 9 { 3 } else { 5 };
        assert_eq!(work.sublayers, [layers * passes; 2], "{id}");
        assert_eq!(work.sublayers_executed, work.sublayers, "{id}");
        assert_eq!((work.kv_projections, work.kv_projections_executed), ((5 - layers) * passes, (5 - layers) * passes));
        assert!(work.controller_seconds > 0.0 && work.flops > 0.0);
        assert_eq!(summary.prefill.sublayers, [5 * summary.prompt_tokens; 2]);
        assert_eq!(summary.prefill.head_products, 1);
    }
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()), "{a} {b}");
    for (phase, sequences) in [
        (report.prefill_summary().work, summaries.iter().map(|s| s.prefill).collect::<Vec<_>>()),
        (report.decode_summary().work, summaries.iter().map(|s| s.decode).collect()),
    ] {
        close(phase.weight_bytes, sequences.iter().map(|work| work.weight_bytes).sum());
        close(phase.flops, sequences.iter().map(|work| work.flops).sum());
        close(phase.flops_executed, sequences.iter().map(|work| work.flops_executed).sum());
        close(phase.controller_seconds, sequences.iter().map(|work| work.controller_seconds).sum());
        assert_eq!(phase.kv_projections, sequences.iter().map(|work| work.kv_projections).sum::<u64>());
        assert_eq!(phase.sublayers[0], sequences.iter().map(|work| work.sublayers[0]).sum::<u64>());
    }
    // The table and the report are for people, JSON for machines.
    let table = report.sequence_table().to_string();
    assert_eq!(table.lines().count(), 3);
    assert!(table.lines().nth(1).unwrap().trim_start().starts_with("9 "), "{table}");
    assert!(report.to_string().contains("K/V projections for skipped layers"), "{report}");
    let json = serde_json::to_string(&summaries).unwrap();
    assert_eq!(serde_json::from_str::<Vec<SequenceSummary>>(&json).unwrap(), summaries);
}

/// Weights that were read for one row alone count for it alone.
#[test]
fn weights_are_divided_among_those_who_asked() {
    let model = small(&device());
    let run = |partial_skips| {
        let controller = controller_fn(|site: &Site<'_>| {
            Decision::per_row(site.rows().iter().map(|row| if row.id == 0 { Action::Exit } else { Action::Run }))
        });
        let o = GenerateOptions {
            run: RunSettings { kv_policy: KvPolicy::Omit, partial_skips, ..RunSettings::default() },
            ..options(2)
        };
        generate(&model, controller, &[vec![1], vec![2]], o).unwrap().finish().unwrap().1
    };
    for partial_skips in [PartialSkips::RunAll, PartialSkips::Gather] {
        let report = run(partial_skips);
        let [exited, full] = [0, 1].map(|i| report.sequence_summaries()[i].decode.weight_bytes);
        let d = &report.dimensions;
        assert_eq!(exited, 4.0 * d.head_weights() / 2.0);
        assert_eq!(full, 4.0 * (d.head_weights() / 2.0 + 5.0 * (d.attention_weights() + d.mlp_weights())));
    }
}

#[test]
fn usage_is_a_histogram() {
    let model = small(&device());
    let (_, report) = generate(&model, SkipLayers::new([1]), &[vec![1]], options(3)).unwrap().finish().unwrap();
    assert_eq!(report.usage().shares(), [1.0, 0.0, 1.0, 1.0, 1.0]);
    let text = report.usage().to_string();
    assert!(text.contains("layer  1 |                                        |   0.0 %"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<RunReport>(&json).unwrap(), report);
    assert!(report.to_string().contains("layers per token 4.00 of 5"), "{report}");
}

#[test]
fn control_from_says_which_passes_are_asked_about() {
    #[derive(Default)]
    struct Spy(Vec<(bool, Phase, usize, usize)>);
    impl Controller for Spy {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            if site.layer() == 0 {
                self.0.push((true, site.phase(), site.hidden().dims()[1], site.rows()[0].position));
            }
            Ok(Action::Run.into())
        }
        fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
            if site.layer() == 0 {
                self.0.push((false, site.phase(), site.hidden().dims()[1], site.rows()[0].position));
            }
            Ok(())
        }
    }
    let model = small(&device());
    let seen = |control_from| {
        let mut spy = Spy::default();
        generate(
            &model,
            &mut spy,
            &[vec![1, 2, 3]],
            GenerateOptions { run: RunSettings { control_from, ..RunSettings::default() }, ..options(2) },
        )
        .unwrap()
        .finish()
        .unwrap();
        spy.0
    };
    use Phase::{Decode, Prefill};
    assert_eq!(seen(ControlFrom::FirstGenerated), [(false, Prefill, 3, 2), (true, Decode, 1, 3)]);
    assert_eq!(
        seen(ControlFrom::LastPromptToken),
        [(false, Prefill, 2, 1), (true, Decode, 1, 2), (true, Decode, 1, 3)]
    );
    assert_eq!(seen(ControlFrom::All), [(true, Prefill, 3, 2), (true, Decode, 1, 3)]);
}

#[test]
fn the_context_ends_a_sequence() {
    let model = small(&device());
    let (done, _) =
        generate(&model, ExitAfter(1), &[vec![1; 60], vec![2; 64]], options(usize::MAX)).unwrap().finish().unwrap();
    // Positions 0 to 63: four more tokens can be fed after 60, and each pass predicts one.
    assert_eq!(done.iter().map(|c| c.tokens.len()).collect::<Vec<_>>(), [5, 1]);
    assert!(done.iter().all(|c| c.stop == Some(Stop::ContextFull)));
}

#[test]
fn no_tokens_asked_for_none_computed() {
    let model = small(&device());
    let (done, report) = generate(&model, ExitAfter(1), &[vec![1]], options(0)).unwrap().finish().unwrap();
    assert!(done[0].tokens.is_empty() && done[0].stop.is_none());
    assert_eq!((report.prefill.passes, report.prefill.tokens_per_second()), (0, None));
}

/// Completions hold all tokens of a sequence, also those that the iterator has yielded.
#[test]
fn a_generation_finishes_from_any_token() {
    let model = small(&device());
    let prompts = [vec![1, 2, 3], vec![4, 5]];
    let begin = || generate(&model, ExitAfter(3), &prompts, options(4)).unwrap();
    let (expected, _) = begin().finish().unwrap();
    for taken in 0..=8 {
        let mut generation = begin();
        for _ in 0..taken {
            generation.next().unwrap().unwrap();
        }
        assert_eq!(generation.finish().unwrap().0, expected, "after {taken} tokens");
    }
}

#[test]
fn sampling_repeats_with_its_seed() {
    let model = small(&device());
    let run = |seed| {
        let sampling = Sampling { temperature: 2.0, top_k: Some(40), ..Sampling::default() };
        let run = RunSettings { seed, ..RunSettings::default() };
        let o = GenerateOptions { run, sampling, ..options(12) };
        generate(&model, SkipLayers::new([2]), &[vec![1, 2]], o).unwrap().finish().unwrap().0.remove(0).tokens
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn scoring_gives_the_probabilities_of_generation() {
    let model = small(&device());
    let spec: ControllerSpec = "uniform:3".parse().unwrap();
    let controller = || spec.build(&model, &Resources::new()).unwrap();
    let (done, _) = generate(&model, controller(), &[vec![5, 6, 7]], options(5)).unwrap().finish().unwrap();
    let (scored, _) = score(
        &model,
        controller(),
        &[5, 6, 7],
        &done[0].tokens,
        &ScoreOptions { keep_logits: true, ..Default::default() },
    )
    .unwrap();
    for (token, route) in scored.tokens.iter().zip(&done[0].routes) {
        assert_eq!(&token.route, route);
        let best = token.logits.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(token.logits[token.token as usize], best, "greedy generation took the best");
        let sum: f64 = token.logits.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((token.log_probability - (f64::from(best).exp() / sum).ln()).abs() < 1e-9);
    }
}

/// A thread can own a generation.
#[test]
fn boxed_controllers_travel() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let model = small(&device());
    let boxed: Box<dyn Controller + Send> = Box::new(SkipLayers::new([1]));
    let generation = sent(generate(&model, boxed, &[vec![1, 2]], options(3)).unwrap());
    let (unboxed, _) = generate(&model, SkipLayers::new([1]), &[vec![1, 2]], options(3)).unwrap().finish().unwrap();
    assert_eq!(generation.finish().unwrap().0, unboxed);
}
