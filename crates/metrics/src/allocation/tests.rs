//! Tests that compare the allocator with brute force, and tests of its properties.

use super::*;
use crate::numbers::ToF64;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Rows = Vec<Vec<(f64, f64)>>;

/// Rows of (quality, cost); candidates are named by their index.
fn evidence(rows: &Rows) -> Evidence {
    let records = (0u64..).zip(rows).flat_map(|(sequence, row)| {
        row.iter().enumerate().map(move |(i, (quality, cost))| Record::new(sequence, format!("c{i}"), *quality, *cost))
    });
    Evidence::new(records).unwrap()
}

/// All allocations as (total quality, total cost), added up in the given order of rows.
fn all(rows: &Rows) -> Vec<(f64, f64)> {
    rows.iter().fold(vec![(0.0, 0.0)], |sums, row| {
        sums.iter().flat_map(|sum| row.iter().map(move |cell| (sum.0 + cell.0, sum.1 + cell.1))).collect()
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-8 * (1.0 + a.abs().max(b.abs()))
}

/// Makes up to 8 rows of up to 5 cells. Costs are whole, half or real numbers, some of them 0. Qualities are coarse,
/// real or all equal, and may be negative.
fn random_rows(rng: &mut ChaCha8Rng) -> Rows {
    let (cost_kind, quality_kind) = (rng.random_range(0..5), rng.random_range(0..4));
    (0..rng.random_range(1..=8))
        .map(|_| {
            (0..rng.random_range(1..=5))
                .map(|_| {
                    let cost = match cost_kind {
                        0 => f64::from(rng.random_range(0..4)),
                        1 => f64::from(rng.random_range(0..24)) * 0.5,
                        2 => f64::from(rng.random_range(0..50)) * 0.1,
                        3 => f64::from(rng.random_range(0..3)) * 1e12 + f64::from(rng.random_range(0..3)) * 12_345.0,
                        _ => rng.random::<f64>() * 10.0,
                    };
                    let quality = match quality_kind {
                        0 => f64::from(rng.random_range(-2..3)),
                        1 => 0.5,
                        2 => cost * if cost_kind == 3 { 1e-12 } else { 0.25 } + f64::from(rng.random_range(0..2)),
                        _ => rng.random::<f64>() - 0.5,
                    };
                    (quality, cost)
                })
                .collect()
        })
        .collect()
}

/// The best total quality within the total budget, and the least cost that reaches it.
fn brute_most(sums: &[(f64, f64)], budget: f64) -> Option<(f64, f64)> {
    let fits = || sums.iter().filter(|sum| sum.1 <= budget * (1.0 + 1e-9) + 1e-12);
    let best = fits().map(|sum| sum.0).fold(None, |best: Option<f64>, q| Some(best.map_or(q, |b| b.max(q))))?;
    let cheapest = fits().filter(|sum| sum.0 >= best - 1e-10).map(|sum| sum.1).fold(f64::INFINITY, f64::min);
    Some((best, cheapest))
}

/// The least total cost that reaches the total quality, and the best quality at that cost.
fn brute_least(sums: &[(f64, f64)], wanted: f64) -> Option<(f64, f64)> {
    let fits = || sums.iter().filter(|sum| sum.0 >= wanted - 1e-9);
    let least = fits().map(|sum| sum.1).fold(None, |least: Option<f64>, c| Some(least.map_or(c, |l| l.min(c))))?;
    let best = fits().filter(|sum| sum.1 <= least * (1.0 + 1e-12)).map(|sum| sum.0).fold(f64::NEG_INFINITY, f64::max);
    Some((best, least))
}

#[test]
fn two_thousand_random_tables_agree_with_brute_force_both_ways() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut infeasible, mut unreachable, mut beyond_greedy) = (0, 0, 0);
    for round in 0..2000 {
        let rows = random_rows(&mut rng);
        let (evidence, sums) = (evidence(&rows), all(&rows));
        let n = rows.len().to_f64();
        let allocator = Allocator::new(&evidence).unwrap();
        let (least, most) = sums.iter().fold((f64::INFINITY, 0f64), |(a, b), sum| (a.min(sum.1), b.max(sum.1)));
        // An allocation spends the first budget exactly. The second is random, and may be too small.
        let chosen = sums[rng.random_range(0..sums.len())];
        for budget in [chosen.1, rng.random_range(0.0..1.0) * (most * 1.1 - least * 0.8) + least * 0.8] {
            match (allocator.most_quality(budget / n), brute_most(&sums, budget)) {
                (Ok(found), Some((quality, cost))) => {
                    assert!(found.is_optimal());
                    assert!(close(found.mean_quality * n, quality), "{round}: {found:?}, best {quality} of {rows:?}");
                    assert!(close(found.mean_cost * n, cost), "{round}: {found:?}, cheapest {cost} of {rows:?}");
                    let envelope = allocator.envelope().at(budget / n).unwrap();
                    assert!(envelope.bound * n >= quality - 1e-8, "{round}: the envelope's bound does not hold");
                    beyond_greedy += usize::from(envelope.point.mean_quality * n < quality - 1e-8);
                }
                (Err(AllocationError::Budget { smallest, .. }), None) => {
                    assert!(close(smallest * n, least), "{round}: {smallest} {least}");
                    infeasible += 1;
                }
                (found, expected) => panic!("{round}: {found:?}, expected {expected:?} of {rows:?}"),
            }
        }
        let largest = sums.iter().map(|sum| sum.0).fold(f64::NEG_INFINITY, f64::max);
        for wanted in [chosen.0, largest + rng.random_range(-2.0..0.5)] {
            match (allocator.least_cost(wanted / n), brute_least(&sums, wanted)) {
                (Ok(found), Some((quality, cost))) => {
                    assert!(found.is_optimal());
                    assert!(close(found.mean_cost * n, cost), "{round}: {found:?}, least {cost} of {rows:?}");
                    assert!(close(found.mean_quality * n, quality), "{round}: {found:?}, best {quality} of {rows:?}");
                }
                (Err(AllocationError::Quality { largest: named, .. }), None) => {
                    assert!(close(named * n, largest), "{round}: {named} {largest}");
                    unreachable += 1;
                }
                (found, expected) => panic!("{round}: {found:?}, expected {expected:?} of {rows:?}"),
            }
        }
    }
    assert!(infeasible > 50 && unreachable > 50 && beyond_greedy > 300, "{infeasible} {unreachable} {beyond_greedy}");
}

#[test]
fn the_envelope_is_the_concave_envelope_of_all_allocations() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for round in 0..500 {
        let rows = random_rows(&mut rng);
        let (evidence, sums) = (evidence(&rows), all(&rows));
        let n = rows.len().to_f64();
        let allocator = Allocator::new(&evidence).unwrap();
        let envelope = allocator.envelope();
        let points = envelope.points();
        for (index, point) in points.iter().enumerate() {
            let (quality, cost) = brute_most(&sums, point.mean_cost * n).unwrap();
            assert!(close(point.mean_quality * n, quality), "{round}: {point:?} {quality} of {rows:?}");
            assert!(close(point.mean_cost * n, cost), "{round}: {point:?} {cost} of {rows:?}");
            let allocation = envelope.allocation(index);
            assert!(close(allocation.mean_cost, point.mean_cost) && close(allocation.mean_quality, point.mean_quality));
            assert_eq!(envelope.at(point.mean_cost).unwrap().point, *point);
        }
        // Nothing lies above the line between two neighbours, and the slopes descend.
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let slope = (b.mean_quality - a.mean_quality) / (b.mean_cost - a.mean_cost);
            for (quality, cost) in sums.iter().map(|sum| (sum.0 / n, sum.1 / n)) {
                let line = a.mean_quality + slope * (cost - a.mean_cost);
                assert!(quality <= line + 1e-8 * (1.0 + line.abs()), "{round}: {quality} above {line} of {rows:?}");
            }
        }
    }
}

fn realistic(rng: &mut ChaCha8Rng, n: usize, cost: impl Fn(f64, &mut ChaCha8Rng) -> f64) -> Rows {
    (0..n)
        .map(|_| {
            let (top, need) = (rng.random::<f64>(), rng.random_range(1.0..12.0));
            (1..=24u32)
                .map(|depth| {
                    let depth = f64::from(depth);
                    let quality = top * (1.0 - (-depth / need).exp()) + 0.1 * (rng.random::<f64>() - 0.5);
                    (quality, cost(depth, rng))
                })
                .collect()
        })
        .collect()
}

#[test]
fn a_table_of_the_papers_size_is_proven_for_whole_half_and_real_costs() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for kind in 0..3 {
        let rows = realistic(&mut rng, 7800, |depth, rng| match kind {
            0 => depth,
            1 => depth - 0.5 * f64::from(rng.random_range(0..2)),
            _ => depth * 1.234_567e9 + 1e8 * rng.random::<f64>(),
        });
        let evidence = evidence(&rows);
        let allocator = Allocator::new(&evidence).unwrap();
        let unit = if kind == 2 { 1.3e9 } else { 1.0 };
        for budget in [2.0, 5.6, 11.1] {
            let found = allocator.most_quality(budget * unit).unwrap();
            assert!(found.is_optimal(), "{kind} {budget}: {found:?}");
            assert!(found.mean_cost <= budget * unit * (1.0 + 1e-9));
            assert!(found.mean_quality <= allocator.envelope().at(budget * unit).unwrap().bound + 1e-12);
            let back = allocator.least_cost(found.mean_quality).unwrap();
            assert!(back.is_optimal() && back.mean_cost <= found.mean_cost * (1.0 + 1e-12));
        }
    }
}

/// The relaxation is no help for these tables: the search must end, and its bound must hold.
#[test]
fn adversarial_tables_end_with_a_proof_or_a_true_gap() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut make = |n: usize, cell: &dyn Fn(&mut ChaCha8Rng, usize, usize) -> (f64, f64)| -> Rows {
        (0..n).map(|row| (0..8).map(|i| cell(&mut rng, row, i)).collect()).collect()
    };
    let strongly = make(2000, &|rng, _, _| {
        let cost = f64::from(rng.random_range(1..1000));
        (cost / 1000.0 + 0.1, cost)
    });
    let equal_ratios = make(2000, &|rng, _, _| {
        let cost = f64::from(rng.random_range(1..1_000_000));
        (cost * 1e-6, cost)
    });
    let ties = make(2000, &|_, _, i| (if i > 3 { 1.0 } else { 0.0 }, f64::from(u32::try_from(i).unwrap())));
    // All costs are even except one, which hides the common divisor.
    let subset = make(60, &|rng, row, i| {
        let cost = if i == 0 { 0.0 } else { 2.0 * f64::from(rng.random_range(1..100_000_000)) + 1e9 };
        if row == 0 && i == 1 { (1e-9, 1.0) } else { (cost * 1e-9, cost) }
    });
    let inverse = make(300, &|rng, _, _| {
        let quality = rng.random::<f64>();
        (quality, quality + 0.1 + 1e-3 * rng.random::<f64>())
    });
    for (name, rows) in
        [("strongly", strongly), ("equal", equal_ratios), ("ties", ties), ("subset", subset), ("inverse", inverse)]
    {
        let evidence = evidence(&rows);
        let allocator = Allocator::new(&evidence).unwrap().work_limit(3_000_000);
        let (low, high) = (allocator.envelope().points()[0], *allocator.envelope().points().last().unwrap());
        for part in [0.1, 0.5, 0.9] {
            let budget = low.mean_cost + part * (high.mean_cost - low.mean_cost);
            let found = allocator.most_quality(budget).unwrap();
            assert!(found.mean_cost <= budget * (1.0 + 1e-9), "{name}");
            let relaxed = allocator.envelope().at(budget).unwrap().bound;
            match found.proof {
                Proof::Optimal => assert!(found.mean_quality <= relaxed + 1e-9, "{name}"),
                Proof::Gap { bound, gap } => {
                    assert!((found.mean_quality + gap - bound).abs() < 1e-9 && gap >= 0.0, "{name}: {found:?}");
                    assert!(bound <= relaxed + 1e-9, "{name}: worse than the relaxation");
                    assert!(gap < 1e-3, "{name}: {gap}");
                }
            }
        }
    }
}

#[test]
fn a_spent_work_limit_gives_a_bound_that_holds() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut gaps = 0;
    for round in 0..400 {
        let rows = random_rows(&mut rng);
        let (evidence, sums) = (evidence(&rows), all(&rows));
        let n = rows.len().to_f64();
        let chosen = sums[rng.random_range(0..sums.len())];
        for limit in [0, 3, 20] {
            let allocator = Allocator::new(&evidence).unwrap().work_limit(limit);
            let (best, _) = brute_most(&sums, chosen.1).unwrap();
            let found = allocator.most_quality(chosen.1 / n).unwrap();
            match found.proof {
                Proof::Optimal => assert!(close(found.mean_quality * n, best), "{round}"),
                Proof::Gap { bound, gap } => {
                    gaps += 1;
                    assert!(bound * n >= best - 1e-8, "{round}: bound {bound} below {best}");
                    assert!(close(found.mean_quality + gap, bound), "{round}");
                }
            }
            let (_, least) = brute_least(&sums, chosen.0).unwrap();
            let found = allocator.least_cost(chosen.0 / n).unwrap();
            match found.proof {
                Proof::Optimal => assert!(close(found.mean_cost * n, least), "{round}"),
                Proof::Gap { bound, gap } => {
                    assert!(bound * n <= least * (1.0 + 1e-9) + 1e-9, "{round}: bound {bound} above {least}");
                    assert!(close(found.mean_cost - gap, bound), "{round}");
                }
            }
        }
    }
    assert!(gaps > 100, "{gaps}");
}

#[test]
fn errors_name_what_is_wrong() {
    let evidence = evidence(&vec![vec![(0.25, 2.0), (0.75, 4.0)], vec![(0.5, 1.0)]]);
    let allocator = Allocator::new(&evidence).unwrap();
    let text = |result: Result<Allocation, AllocationError>| result.unwrap_err().to_string();
    assert_eq!(
        text(allocator.most_quality(1.0)),
        "a mean budget of 1 is too small: the smallest feasible budget is 1.5"
    );
    assert_eq!(
        text(allocator.least_cost(0.7)),
        "a mean quality of 0.7 cannot be reached: the largest reachable quality is 0.625"
    );
    for budget in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(text(allocator.most_quality(budget)).contains("expected a finite number of at least 0"));
        assert!(allocator.envelope().at(budget).is_err());
    }
    assert!(text(allocator.least_cost(f64::NAN)).contains("expected a finite number, found NaN"));
    let missing = Allocator::by(&evidence, Column::FirstHalf).unwrap_err();
    assert_eq!(missing.to_string(), "the evidence does not have column FirstHalf for every sequence");
    let huge = super::tests::evidence(&vec![vec![(1e10, 1.0)]]);
    assert!(matches!(Allocator::new(&huge), Err(AllocationError::TooLarge { what: "qualities", .. })));
    let dear = super::tests::evidence(&vec![vec![(1.0, 1e308)], vec![(1.0, 1e308)]]);
    assert!(matches!(Allocator::new(&dear), Err(AllocationError::TooLarge { what: "costs", .. })));
}

/// Rows with many ties: eighths as qualities, whole costs.
fn tied_rows() -> impl Strategy<Value = Rows> {
    let cell = (-8i32..16, 0i32..9).prop_map(|(quality, cost)| (f64::from(quality) / 8.0, f64::from(cost)));
    prop::collection::vec(prop::collection::vec(cell, 1..7), 1..14)
}

proptest! {
    #[test]
    fn the_order_of_rows_and_candidates_does_not_matter((rows, seed) in (tied_rows(), any::<u64>()), share in 0.0..1.0f64) {
        use rand::seq::SliceRandom;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut other = rows.clone();
        other.shuffle(&mut rng);
        for row in &mut other {
            row.shuffle(&mut rng);
        }
        let (a, b) = (evidence(&rows), evidence(&other));
        let (a, b) = (Allocator::new(&a).unwrap(), Allocator::new(&b).unwrap());
        let (low, high) = (a.envelope().points()[0], *a.envelope().points().last().unwrap());
        let budget = low.mean_cost + share * (high.mean_cost - low.mean_cost);
        let (a, b) = (a.most_quality(budget).unwrap(), b.most_quality(budget).unwrap());
        prop_assert!(a.is_optimal() && b.is_optimal());
        prop_assert!(close(a.mean_quality, b.mean_quality) && close(a.mean_cost, b.mean_cost));
    }

    #[test]
    fn more_budget_is_never_worse_and_both_ways_agree(rows in tied_rows()) {
        let evidence = evidence(&rows);
        let allocator = Allocator::new(&evidence).unwrap();
        let mut before = f64::NEG_INFINITY;
        for tenths in 0..=90 {
            let Ok(found) = allocator.most_quality(f64::from(tenths) / 10.0) else { continue };
            prop_assert!(found.is_optimal() && found.mean_quality >= before - 1e-12);
            before = found.mean_quality;
            // The cheapest allocation of that quality is the one that was found.
            let back = allocator.least_cost(found.mean_quality).unwrap();
            prop_assert!(close(back.mean_cost, found.mean_cost), "{found:?} {back:?}");
            prop_assert!(close(back.mean_quality, found.mean_quality), "{found:?} {back:?}");
        }
    }

    #[test]
    fn what_another_candidate_dominates_is_never_chosen((rows, share) in (tied_rows(), 0.0..1.2f64)) {
        let table = evidence(&rows);
        let allocator = Allocator::new(&table).unwrap();
        let (low, high) = (allocator.envelope().points()[0], *allocator.envelope().points().last().unwrap());
        let budget = low.mean_cost + share * (high.mean_cost - low.mean_cost);
        let wanted = low.mean_quality + share.min(1.0) * (high.mean_quality - low.mean_quality);
        for found in [allocator.most_quality(budget).unwrap(), allocator.least_cost(wanted).unwrap()] {
            for (sequence, choice) in found.choices.iter().enumerate() {
                let chosen = table.cell(sequence, *choice).unwrap();
                let dominated = table.row(sequence).any(|cell| {
                    cell.quality >= chosen.quality && cell.cost <= chosen.cost && (cell.quality, cell.cost) != (chosen.quality, chosen.cost)
                });
                prop_assert!(!dominated, "{chosen:?} of {rows:?}");
            }
        }
    }
}

#[test]
fn ties_go_to_the_cheaper() {
    // Of equally good candidates the cheaper is taken, although the budget would pay for either.
    let table = evidence(&vec![vec![(0.0, 1.0), (1.0, 3.0), (1.0, 2.0)], vec![(0.5, 4.0), (0.5, 1.0)]]);
    let found = Allocator::new(&table).unwrap().most_quality(100.0).unwrap();
    assert_eq!((found.choices, found.mean_cost), (vec![2, 1], 1.5));
    // Only one of two upgrades fits; they gain the same, and one is cheaper.
    let table =
        evidence(&vec![vec![(0.0, 0.0), (1.0, 5.0)], vec![(0.0, 0.0), (1.0, 4.0)], vec![(0.0, 0.0), (0.1, 3.0)]]);
    let found = Allocator::new(&table).unwrap().most_quality(2.0).unwrap();
    assert_eq!(found.mean_cost * 3.0, 4.0);
}
