//! Tests of the baselines on tables whose truth is known.

use super::*;
use crate::allocation::{Allocator, Evidence, Proof, Record};
use crate::statistics::Bootstrap;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const DEPTHS: u32 = 24;

/// A table of `truth` plus independent noise in every half; `label_free` is the truth.
fn measured(seed: u64, sequences: u64, noise: f64, truth: impl Fn(u64, f64) -> f64) -> Evidence {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut records = Vec::new();
    for sequence in 0..sequences {
        for depth in 1..=DEPTHS {
            let depth = f64::from(depth);
            let truth = truth(sequence, depth);
            let mut half = || truth + noise * (rng.random::<f64>() - 0.5);
            let halves = [half(), half()];
            let quality = f64::midpoint(halves[0], halves[1]);
            let record = Record::new(sequence, format!("uniform:{depth}"), quality, depth);
            records.push(Record { halves: Some(halves), label_free: Some(truth), ..record });
        }
    }
    Evidence::new(records).unwrap()
}

/// Random routes of three depths, 24 of each, with the quality `truth` plus noise.
fn routes(seed: u64, sequences: u64, noise: f64, truth: impl Fn(u64, f64) -> f64) -> Evidence {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut records = Vec::new();
    for sequence in 0..sequences {
        for depth in [4.0, 12.0, 20.0] {
            for route in 0..DEPTHS {
                let quality = truth(sequence, depth) + noise * (rng.random::<f64>() + rng.random::<f64>() - 1.0) / 2.0;
                records.push(Record::new(sequence, format!("route {route} of {depth}"), quality, depth));
            }
        }
    }
    Evidence::new(records).unwrap()
}

/// The depth that a sequence needs: from 1 to 24, as good as random.
fn need(sequence: u64) -> f64 {
    f64::from(u32::try_from(sequence * 7919 % 24).unwrap() + 1)
}

#[test]
fn on_pure_noise_the_oracle_gains_and_the_honest_ones_do_not() {
    let evidence = measured(1, 800, 1.0, |_, _| 0.0);
    let null = routes(2, 800, 1.0, |_, _| 0.0);
    let baselines = Comparison::new(&evidence, 12.0).null(&null).run().unwrap();
    assert_eq!(baselines.proof, Proof::Optimal);
    let gain = |row: Option<ComparisonRow>| row.unwrap().gain.unwrap();
    assert!(gain(Some(baselines.oracle)).low > 0.2, "{baselines}");
    // The gain is luck: a choice made on one half has no gain on the other.
    assert!(baselines.cross_fitted.unwrap().quality.covers(0.0), "{baselines}");
    assert!(gain(baselines.cross_fitted).low <= 0.0, "{baselines}");
    // Random routes do as well.
    assert!(gain(baselines.null_best).low > 0.2, "{baselines}");
    assert!(baselines.null_best.unwrap().quality.estimate >= baselines.oracle.quality.estimate - 0.05, "{baselines}");
    assert!(baselines.null_mean.unwrap().quality.covers(0.0) && baselines.dealt.quality.low < 0.35, "{baselines}");
    let text = baselines.to_string();
    assert!(text.contains("cross-fitted oracle") && text.contains("proven"), "{text}");
    assert!(!text.contains("not measured"), "{text}");
}

#[test]
fn where_depth_matters_per_sequence_all_oracles_gain() {
    let truth = |sequence, depth| if depth >= need(sequence) { 1.0 } else { 0.0 };
    let evidence = measured(3, 800, 0.2, truth);
    let null = routes(4, 800, 0.2, truth);
    let baselines = Comparison::new(&evidence, 12.5).null(&null).run().unwrap();
    for row in [Some(baselines.oracle), baselines.cross_fitted, baselines.label_free] {
        let row = row.unwrap();
        assert!(row.gain.unwrap().low > 0.4 && row.quality.low > 0.95, "{baselines}");
        assert!(row.mean_cost <= 12.5 + 1e-9);
    }
    // Choices that ignore the sequence are deep enough for about half of the sequences.
    for row in [baselines.dealt, baselines.best_static.clone().unwrap().row, baselines.null_mean.unwrap()] {
        assert!((0.4..0.65).contains(&row.quality.estimate), "{baselines}");
    }
    assert!(baselines.null_best.unwrap().quality.high < baselines.oracle.quality.low, "{baselines}");
    assert_eq!(baselines.null_depths.len(), 3);
    assert!(baselines.null_depths.iter().all(|depth| depth.routes == 24 && depth.mean_of_best > depth.mean));
}

#[test]
fn sequences_without_halves_are_left_out_of_the_cross_fitted_row() {
    let evidence = measured(21, 60, 1.0, |_, _| 0.0);
    let without = |left_out: fn(u64) -> bool| {
        let records = evidence
            .records()
            .map(|record| Record { halves: record.halves.filter(|_| !left_out(record.sequence)), ..record });
        Comparison::new(&Evidence::new(records).unwrap(), 12.0).run().unwrap()
    };
    let some = without(|sequence| sequence % 20 == 3);
    let kept = Evidence::new(evidence.records().filter(|record| record.sequence % 20 != 3)).unwrap();
    assert_eq!((some.sequences, some.with_halves), (60, 57));
    // The row is that of the other sequences alone, and only this row changes.
    assert_eq!(some.cross_fitted, Comparison::new(&kept, 12.0).run().unwrap().cross_fitted);
    let whole = without(|_| false);
    assert_eq!((some.oracle, whole.with_halves), (whole.oracle, 60));
    assert_ne!(some.cross_fitted, whole.cross_fitted);
    let line = "rests on 57 of 60 sequences; the others (3) have no halves";
    assert!(some.to_string().contains(line) && !whole.to_string().contains("rests on"), "{some}");
    // A resample of one sequence says nothing of the spread, however many other sequences there are.
    let one = without(|sequence| sequence != 7);
    let row = one.cross_fitted.unwrap();
    assert!(!row.quality.is_known() && !row.gain.unwrap().is_known() && one.oracle.quality.is_known(), "{one}");
    let none = without(|_| true);
    assert_eq!((none.with_halves, none.cross_fitted), (0, None));
    assert!(none.to_string().contains("no sequence has halves"), "{none}");
}

#[test]
fn a_budget_below_the_sequences_with_halves_gives_no_cross_fitted_row() {
    let dear = Record { halves: Some([1.0; 2]), ..Record::new(1, "full", 1.0, 10.0) };
    let evidence = Evidence::new([Record::new(0, "exit", 1.0, 1.0), dear]).unwrap();
    let baselines = Comparison::new(&evidence, 5.5).run().unwrap();
    assert_eq!((baselines.with_halves, baselines.cross_fitted), (1, None));
    let text = baselines.to_string();
    assert!(text.contains("no allocation of the 1 sequences with halves is within the budget"), "{text}");
}

/// A single token has no halves. Counted as both, it hands the luck of the choice to the cross-fitted oracle.
#[test]
fn a_token_that_counts_as_both_halves_would_gain_on_noise() {
    let evidence = measured(22, 400, 1.0, |_, _| 0.0);
    let gain = |halves: fn(&Record) -> Option<[f64; 2]>| {
        let records = evidence.records().map(|record| Record { halves: halves(&record), ..record });
        let row = Comparison::new(&Evidence::new(records).unwrap(), 12.0).run().unwrap().cross_fitted;
        row.map(|row| row.gain.unwrap().low)
    };
    assert!(gain(|record| Some([record.quality; 2])).unwrap() > 0.2);
    assert!(gain(|record| record.halves).unwrap() <= 0.0);
    // The same if half of the sequences have a single token.
    assert!(
        gain(|record| if record.sequence % 2 == 0 { Some([record.quality; 2]) } else { record.halves }).unwrap() > 0.05
    );
    assert!(gain(|record| if record.sequence % 2 == 0 { None } else { record.halves }).unwrap() <= 0.0);
}

#[test]
fn one_sequence_has_no_intervals() {
    let evidence = measured(23, 1, 1.0, |_, _| 0.0);
    let null = routes(24, 1, 1.0, |_, _| 0.0);
    let outcome = Outcome { sequence: 0, quality: 0.5, cost: 12.0 };
    let baselines = Comparison::new(&evidence, 12.0).null(&null).controller("one", [outcome]).run().unwrap();
    let controller = &baselines.controllers[0];
    let rows = [Some(baselines.oracle), baselines.cross_fitted, baselines.null_best, Some(controller.row)];
    for row in rows.into_iter().map(Option::unwrap) {
        for interval in [row.quality, row.gain.unwrap(), row.over_mix.unwrap()] {
            assert!(interval.estimate.is_finite() && interval.covers(-1e9) && interval.covers(1e9), "{interval:?}");
        }
    }
    assert!(!controller.regret.unwrap().is_known());
    let text = baselines.to_string();
    assert!(text.contains("[unknown: one item]") && !text.contains("inf") && !text.contains("NaN"), "{text}");
    let json = serde_json::to_string(&baselines).unwrap();
    assert_eq!(serde_json::from_str::<Baselines>(&json).unwrap(), baselines);
}

#[test]
fn the_best_mix_is_the_concave_envelope_of_the_single_candidates() {
    // Random means; the envelope is also computed as the best of all lotteries over a grid of shares.
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for _ in 0..50 {
        let candidates: Vec<(f64, f64)> = (0..5).map(|at| (f64::from(at) * 4.0, rng.random::<f64>())).collect();
        let evidence = Evidence::new((0..2).flat_map(|sequence| {
            let record = |(at, one): (usize, &(f64, f64))| Record::new(sequence, format!("c{at}"), one.1, one.0);
            candidates.iter().enumerate().map(record).collect::<Vec<_>>()
        }))
        .unwrap();
        for budget in [0.0, 2.0, 6.5, 11.0, 16.0] {
            let baselines = Comparison::new(&evidence, budget).run().unwrap();
            let mut best = f64::NEG_INFINITY;
            for a in &candidates {
                for b in &candidates {
                    // Every share that spends one of the budgets is a whole number of 480ths.
                    for share in (0..=480).map(|i| f64::from(i) / 480.0) {
                        if a.0 + share * (b.0 - a.0) <= budget + 1e-12 {
                            best = best.max(a.1 + share * (b.1 - a.1));
                        }
                    }
                }
            }
            let mix = baselines.best_mix.unwrap();
            assert!((mix.quality.estimate - best).abs() < 1e-9, "{} and {best} at {budget}", mix.quality.estimate);
            assert!(mix.mean_cost <= budget + 1e-12 && mix.over_mix.unwrap().estimate == 0.0);
            assert!(mix.gain.unwrap().estimate >= 0.0);
        }
    }
}

#[test]
fn where_sequences_do_not_differ_no_oracle_beats_the_best_mix() {
    // Depth matters in the same way for all sequences, so the gain over one depth is due to mixing.
    let truth = |_, depth: f64| if depth >= 20.0 { 1.0 } else { 0.0 };
    let baselines = Comparison::new(&measured(9, 400, 0.1, truth), 10.5).run().unwrap();
    let [cross_fitted, label_free] = [baselines.cross_fitted.unwrap(), baselines.label_free.unwrap()];
    for row in [cross_fitted, label_free] {
        assert!(row.gain.unwrap().low > 0.4, "{baselines}");
        assert!(row.over_mix.unwrap().low <= 0.0, "{baselines}");
    }
    // (10.5 - 1) / (20 - 1) of all sequences go deep.
    assert!((baselines.best_mix.unwrap().quality.estimate - 0.5).abs() < 0.01, "{baselines}");
}

#[test]
fn regret_is_what_the_oracle_has_over_a_controller_at_its_own_cost() {
    let evidence = measured(5, 300, 0.0, |sequence, depth| if depth >= need(sequence) { 1.0 } else { 0.0 });
    let outcome = |quality: fn(u64) -> f64, cost: fn(u64) -> f64| {
        (0..300).map(move |sequence| Outcome { sequence, quality: quality(sequence), cost: cost(sequence) })
    };
    let baselines = Comparison::new(&evidence, 6.0)
        .controller("perfect", outcome(|_| 1.0, need))
        .controller("never", outcome(|_| 0.0, need))
        .controller("free", outcome(|_| 0.5, |_| 0.5))
        .run()
        .unwrap();
    let [perfect, never, free] = &baselines.controllers[..] else { panic!("{baselines}") };
    let regret = perfect.regret.unwrap();
    assert!(regret.estimate.abs() < 1e-9 && regret.covers(0.0) && regret.high - regret.low < 1e-9, "{regret:?}");
    assert!((never.regret.unwrap().estimate - 1.0).abs() < 1e-9);
    assert!(perfect.row.gain.unwrap().low > 0.3);
    assert!((free.regret.is_none(), free.row.gain.is_none()) == (true, true));
    assert!(baselines.to_string().contains("controller free"));
    // The regret is computed from the exact optimum, not from the relaxation.
    let cost = perfect.row.mean_cost;
    let exact = Allocator::new(&evidence).unwrap().most_quality(cost).unwrap();
    assert!((exact.mean_quality - perfect.row.quality.estimate - regret.estimate).abs() < 1e-12);
}

#[test]
fn intervals_cover_the_truth_about_as_often_as_they_say() {
    // With one candidate the oracle is the mean of 60 uniform numbers, whose expectation is known.
    let mut covered = 0;
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let records = (0..60).map(|sequence| Record::new(sequence, "full", rng.random::<f64>(), 8.0));
        let evidence = Evidence::new(records).unwrap();
        let bootstrap = Bootstrap { resamples: 300, confidence: 0.9, seed };
        let baselines = Comparison::new(&evidence, 8.0).bootstrap(bootstrap).run().unwrap();
        covered += u32::from(baselines.oracle.quality.covers(0.5));
        assert_eq!(baselines.oracle.quality, baselines.best_static.unwrap().row.quality);
    }
    assert!((165..=192).contains(&covered), "{covered} of 200 at 90 %");
}

#[test]
fn the_same_seed_gives_the_same_report_and_it_travels() {
    let evidence = measured(6, 50, 1.0, |_, depth| depth / 24.0);
    let run = |seed| {
        let bootstrap = Bootstrap { resamples: 50, seed, ..Bootstrap::default() };
        Comparison::new(&evidence, 7.0).bootstrap(bootstrap).run().unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).oracle.quality, run(2).oracle.quality);
    assert_eq!(run(1).oracle.quality.estimate, run(2).oracle.quality.estimate);
    let json = serde_json::to_value(run(1)).unwrap();
    assert_eq!(json["oracle"]["quality"]["estimate"].as_f64().unwrap(), run(1).oracle.quality.estimate);
    assert!(serde_json::from_value::<Baselines>(json).is_ok());
}

#[test]
fn random_dealing_is_the_exact_expectation() {
    let evidence = Evidence::new([
        Record::new(0, "a", 0.0, 1.0),
        Record::new(0, "b", 1.0, 3.0),
        Record::new(1, "a", 0.5, 1.0),
        Record::new(1, "b", 0.6, 3.0),
        Record::new(2, "c", 0.9, 2.0),
    ])
    .unwrap();
    // The oracle takes b, a and c. Sequences 0 and 1 draw a or b evenly; sequence 2 has nothing but c.
    let baselines = Comparison::new(&evidence, 2.0).run().unwrap();
    assert_eq!(baselines.oracle.quality.estimate * 3.0, 1.0 + 0.5 + 0.9);
    assert!((baselines.dealt.quality.estimate * 3.0 - (0.5 + 0.55 + 0.9)).abs() < 1e-12);
    assert!((baselines.dealt.mean_cost - 2.0).abs() < 1e-12);
    assert!(baselines.best_static.is_none() && baselines.oracle.gain.is_none(), "no candidate is there for all");
    assert!(baselines.to_string().contains("not measured"));
}

#[test]
fn errors_name_what_is_wrong() {
    let evidence = measured(7, 3, 0.0, |_, _| 0.0);
    let text = |run: Comparison<'_>| run.run().unwrap_err().to_string();
    let run = || Comparison::new(&evidence, 5.0);
    let outcome = |sequence, quality, cost| Outcome { sequence, quality, cost };
    let three = [outcome(0, 0.0, 1.0), outcome(1, 0.0, 1.0), outcome(2, 0.0, 1.0)];
    for (found, part) in [
        (text(Comparison::new(&evidence, 0.5)), "the smallest feasible budget is 1"),
        (
            text(run().bootstrap(Bootstrap { resamples: 1, ..Bootstrap::default() })),
            "1 resamples; at least 2 are needed",
        ),
        (
            text(run().bootstrap(Bootstrap { confidence: 1.0, ..Bootstrap::default() })),
            "confidence is 1; a number between 0 and 1 is needed",
        ),
        (text(run().controller("x", three[..2].iter().copied())), "found none with id 2"),
        (text(run().controller("x", three.iter().chain(&three[..1]).copied())), "found 0 twice"),
        (text(run().controller("x", three.into_iter().chain([outcome(9, 0.0, 1.0)]))), "found 9 besides"),
        (
            text(run().controller("x", [outcome(0, f64::NAN, 1.0)])),
            "sequence 0, column quality: expected a finite number",
        ),
        (text(run().controller("x", [outcome(0, 0.0, -1.0)])), "column cost: expected a finite number of at least 0"),
        (text(run().null(&routes(0, 2, 0.0, |_, _| 0.0))), "found none with id 2"),
        (text(run().null(&routes(0, 4, 0.0, |_, _| 0.0))), "found 4 sequences"),
        (text(run().null(&evidence)), "as many of each depth as there are candidates, 24, found 1 of cost 1"),
    ] {
        assert!(found.contains(part), "{found:?} lacks {part:?}");
    }
    let uneven = Evidence::new((0..3).map(|i| Record::new(i, "r", 0.0, if i == 2 { 3.0 } else { 2.0 }))).unwrap();
    assert!(text(run().null(&uneven)).contains("to cost the same for every sequence, found 2 and, for sequence 2, 3"));
}
