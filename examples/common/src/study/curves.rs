//! Curves of quality against depth, on resampled items and seeds.

use super::{Evaluation, Measure, StudyRun, purposes};
use dynlayer::metrics::frontier::{Between, Frontier, Point};
use dynlayer::metrics::random;
use dynlayer::metrics::statistics::{Bootstrap, Interval, StatisticsError};
use rand::Rng;

/// The number of steps in depth over which the distance between two curves is averaged.
const DEPTHS: u32 = 100;

/// The items and seeds of a bootstrap resample, by index; an index may occur several times.
#[derive(Clone, Copy)]
pub(super) struct Drawn<'a> {
    pub(super) items: &'a [usize],
    pub(super) seeds: &'a [usize],
}

/// The runs of one input and price, one per seed.
pub(super) type Setting<'a> = Vec<&'a StudyRun>;

/// Returns the mean layers and the mean measure of a setting on a resample.
pub(super) fn point(setting: &Setting<'_>, measure: Measure, drawn: Drawn<'_>) -> Point {
    let evaluations: Vec<&Evaluation> = drawn.seeds.iter().map(|seed| &setting[*seed].evaluation).collect();
    mean_point(&evaluations, measure, drawn.items)
}

/// Returns the means over items and runs.
fn mean_point(evaluations: &[&Evaluation], measure: Measure, items: &[usize]) -> Point {
    let n = (evaluations.len() * items.len()) as f64;
    let mean = |values: fn(&Evaluation) -> &[f64]| -> f64 {
        let sum = |evaluation: &&Evaluation| items.iter().map(|item| values(evaluation)[*item]).sum::<f64>();
        evaluations.iter().map(sum).sum::<f64>() / n
    };
    match measure {
        Measure::Quality => Point::new(mean(|e| &e.layers), mean(|e| &e.quality)),
        // The NLL is negated, since a lower NLL is better, and on a curve higher values are better.
        Measure::Nll => Point::new(mean(|e| &e.nll_layers), -mean(|e| &e.nll)),
    }
}

/// Returns the bootstrap interval of a statistic over items and seeds.
pub(super) fn bootstrap(
    options: &Bootstrap,
    items: usize,
    seeds: usize,
    mut statistic: impl FnMut(Drawn<'_>) -> f64,
) -> Result<Interval, StatisticsError> {
    // Seeds are drawn independently of items and, like items, in the same way for every statistic.
    let mut rng = random::at(purposes::RUNS, options.seed, [seeds as u64, 0, 0]);
    let mut whole = true;
    options.statistic(items, |items| {
        // The first call computes the estimate, with every item and every seed once.
        let draw = |i: usize| if whole { i } else { rng.random_range(0..seeds) };
        let drawn: Vec<usize> = (0..seeds).map(draw).collect();
        whole = false;
        statistic(Drawn { items, seeds: &drawn })
    })
}

/// Returns the range of depths that the settings of both inputs reach, if there is one.
pub(super) fn common(first: &[Setting<'_>], second: &[Setting<'_>], measure: Measure) -> Option<(f64, f64)> {
    let range = |settings: &[Setting<'_>]| {
        let costs = settings.iter().map(|setting| {
            let (items, seeds): (Vec<usize>, Vec<usize>) =
                ((0..setting[0].evaluation.quality.len()).collect(), (0..setting.len()).collect());
            point(setting, measure, Drawn { items: &items, seeds: &seeds }).cost
        });
        costs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), cost| (low.min(cost), high.max(cost)))
    };
    let (a, b) = (range(first), range(second));
    let (from, to) = (a.0.max(b.0), a.1.min(b.1));
    (from < to).then_some((from, to))
}

/// Returns the mean distance of the first input's curve above the second's over a range of depths; NaN if a curve
/// cannot be made.
pub(super) fn gain(
    [first, second]: [&[Setting<'_>]; 2],
    full: &Evaluation,
    measure: Measure,
    (from, to): (f64, f64),
    drawn: Drawn<'_>,
) -> f64 {
    let curve = |settings: &[Setting<'_>]| {
        let points: Vec<Point> = settings
            .iter()
            .map(|setting| point(setting, measure, drawn))
            .chain([mean_point(&[full], measure, drawn.items)])
            .collect();
        Frontier::of(&points).ok()
    };
    let (Some(first), Some(second)) = (curve(first), curve(second)) else { return f64::NAN };
    let differences = (0..=DEPTHS).map(|i| {
        let depth = from + (to - from) * f64::from(i) / f64::from(DEPTHS);
        at(&first, depth) - at(&second, depth)
    });
    differences.sum::<f64>() / f64::from(DEPTHS + 1)
}

/// Returns the quality of a curve at a depth, or the quality of its first point at a depth below it, as a resampled
/// curve may begin a little above the range.
fn at(curve: &Frontier, depth: f64) -> f64 {
    let first = curve.points().first().map_or(f64::NAN, |point| point.quality);
    curve.quality_at(depth, Between::Lines).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::controllers::RouterInput;
    use dynlayer::inference::training::DepthLoss;

    /// A run with the same result for all items.
    fn run(layers: f64, quality: f64, items: usize) -> StudyRun {
        let all = |x: f64| vec![x; items];
        StudyRun {
            input: RouterInput::Hidden,
            depth: DepthLoss::Price { alpha: 0.0 },
            seed: 0,
            training_loss: 0.0,
            training_layers: 0.0,
            evaluation: Evaluation {
                quality: all(quality),
                layers: all(layers),
                nll: all(-quality),
                nll_layers: all(layers),
            },
        }
    }

    /// Returns a setting of one seed for each run.
    fn settings(runs: &[StudyRun]) -> Vec<Setting<'_>> {
        runs.iter().map(|run| vec![run]).collect()
    }

    #[test]
    fn a_gain_is_the_mean_distance_of_the_curves() {
        // The first curve loses 0.1 per layer below 10, the second 0.2. Both are 1 at 10 layers.
        let line = |slope: f64| [4.0, 6.0, 8.0].map(|layers| run(layers, 1.0 - slope * (10.0 - layers), 7));
        let (one, other) = (line(0.1), line(0.2));
        let (one, other) = (settings(&one), settings(&other));
        let full = run(10.0, 1.0, 7).evaluation;
        for measure in [Measure::Quality, Measure::Nll] {
            let range = common(&one, &other, measure).unwrap();
            assert_eq!(range, (4.0, 8.0));
            let found = bootstrap(&Bootstrap { resamples: 20, ..Bootstrap::new(0) }, 7, 1, |drawn| {
                gain([&one, &other], &full, measure, range, drawn)
            });
            let found = found.unwrap();
            // The distance falls from 0.6 at 4 layers to 0.2 at 8, and is the same for every resample.
            for x in [found.low, found.estimate, found.high] {
                assert!((x - 0.4).abs() < 1e-12, "{found:?}");
            }
        }
    }

    #[test]
    fn items_and_seeds_are_drawn() {
        let (good, bad) = (run(5.0, 0.8, 3), run(5.0, 0.2, 3));
        let setting: Setting<'_> = vec![&good, &bad];
        let interval = bootstrap(&Bootstrap::new(0), 3, 2, |drawn| point(&setting, Measure::Quality, drawn).quality);
        let interval = interval.unwrap();
        // A resample has both seeds, or one of them twice.
        assert!((interval.estimate - 0.5).abs() < 1e-12);
        assert!((interval.low - 0.2).abs() < 1e-12 && (interval.high - 0.8).abs() < 1e-12, "{interval:?}");
    }

    #[test]
    fn depths_that_are_not_shared_are_not_compared() {
        let (low, high) = ([run(2.0, 0.1, 2), run(3.0, 0.2, 2)], [run(5.0, 0.5, 2), run(6.0, 0.6, 2)]);
        let (low, high) = (settings(&low), settings(&high));
        assert_eq!(common(&low, &high, Measure::Quality), None);
    }
}
