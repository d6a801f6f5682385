//! Computes the controls.

use super::bootstrap::{Estimator, Sampled};
use super::curve::Curve;
use super::fixed::{Means, Statics, dealt, mean};
use super::null::Null;
use super::outcome::in_order;
use super::{Bootstrap, ControlRow, ControllerRow, Controls, ControlsError, Outcome, StaticRow};
use crate::oracle::numbers::count;
use crate::oracle::{Allocation, AllocationError, Allocator, Column, Evidence};
use std::rc::Rc;

/// What is to be compared at one budget.
///
/// ```
/// use dynlayer_inference::oracle::{ControlsRun, Evidence, Outcome, Record};
///
/// let evidence = Evidence::new((0..40).flat_map(|sequence| {
///     let needs_depth = sequence % 2 == 0;
///     [
///         Record::new(sequence, "exit:2", if needs_depth { 0.0 } else { 1.0 }, 2.0),
///         Record::new(sequence, "full", 1.0, 8.0),
///     ]
/// }))?;
/// let outcomes = (0..40).map(|sequence| Outcome { sequence, quality: 0.5, cost: 2.0 });
/// let controls = ControlsRun::new(&evidence, 5.0).controller("always exit", outcomes).run()?;
/// assert_eq!(controls.oracle.quality.value, 1.0);
/// assert_eq!(controls.dealt.quality.value, 0.75);
/// let best = controls.best_static.as_ref().ok_or("none within the budget")?;
/// assert_eq!((best.candidate.as_str(), best.row.quality.value), ("exit:2", 0.5));
/// assert_eq!(controls.controllers[0].regret.map(|regret| regret.value), Some(0.0));
/// assert!(controls.to_string().contains("one candidate for all (exit:2)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ControlsRun<'a> {
    evidence: &'a Evidence,
    budget: f64,
    null: Option<&'a Evidence>,
    controllers: Vec<(String, Vec<Outcome>)>,
    bootstrap: Bootstrap,
    work_limit: Option<u64>,
}

/// A row under way: the places of its numbers among the estimators.
struct Planned {
    cost: f64,
    quality: usize,
    baselines: Baselines,
}

/// What knows nothing of the sequences, at the same cost: its places among the estimators.
#[derive(Clone, Copy, Default)]
struct Baselines {
    /// The best single candidate.
    single: Option<usize>,
    /// The best mix.
    mix: Option<usize>,
}

/// The estimators, each with the value that is reported.
#[derive(Default)]
struct Plan<'a> {
    estimators: Vec<(f64, Estimator<'a>)>,
}

impl<'a> Plan<'a> {
    fn add(&mut self, value: f64, estimator: impl Fn(&[f64]) -> f64 + 'a) -> usize {
        self.estimators.push((value, Box::new(estimator)));
        self.estimators.len() - 1
    }

    /// What knows nothing of the sequences, chosen anew for every resampling, each within its own `budget`; the mean over
    /// several columns. None of it if for one of them no candidate is within the budget.
    fn add_baselines(
        &mut self,
        of: &Rc<[Statics]>,
        ones: &[f64],
        budget: impl Fn(&[f64]) -> f64 + Clone + 'a,
    ) -> Baselines {
        let within = budget(ones);
        if !of.iter().all(|of| of.best(ones, within).is_some_and(|(_, best)| best.fits(within))) {
            return Baselines::default();
        }
        let mut add = |chosen: fn(&Statics, &[f64], f64) -> Option<Means>| {
            let (of, budget) = (Rc::clone(of), budget.clone());
            let score = move |weights: &[f64]| {
                let scores =
                    of.iter().map(|of| chosen(of, weights, budget(weights)).map_or(0.0, |chosen| chosen.score));
                scores.sum::<f64>() / count(of.len())
            };
            Some(self.add(score(ones), score))
        };
        let single = add(|of, weights, budget| of.best(weights, budget).map(|(_, best)| best));
        Baselines { single, mix: add(Statics::best_mix) }
    }

    /// A mean of what every sequence contributes, whatever the others do.
    fn add_mean(&mut self, values: Vec<f64>) -> usize {
        let value = mean(&values, &vec![1.0; values.len()]);
        self.add(value, move |weights| mean(&values, weights))
    }
}

impl<'a> ControlsRun<'a> {
    /// Compares at this mean cost per sequence, in the evidence's measure.
    pub fn new(evidence: &'a Evidence, budget: f64) -> Self {
        Self {
            evidence,
            budget,
            null: None,
            controllers: Vec::new(),
            bootstrap: Bootstrap::default(),
            work_limit: None,
        }
    }

    /// Adds random routes: of every depth as many as the evidence has candidates, each with the same cost for all
    /// sequences.
    pub fn null(mut self, routes: &'a Evidence) -> Self {
        self.null = Some(routes);
        self
    }

    /// Adds what a real controller did with every sequence.
    pub fn controller(mut self, name: impl Into<String>, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        self.controllers.push((name.into(), outcomes.into_iter().collect()));
        self
    }

    /// How intervals are computed.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Sets [`Allocator::work_limit`] for every allocation.
    pub fn work_limit(mut self, states: u64) -> Self {
        self.work_limit = Some(states);
        self
    }

    /// Computes everything.
    ///
    /// Values are those of exact allocations. On the resamplings sequences are allocated anew, by the linear
    /// relaxation, and the best single candidate and the best mix are chosen anew; other random mixes and controllers are
    /// as they are.
    ///
    /// # Errors
    /// [`ControlsError`] if the budget is infeasible, the null's or a controller's sequences are not those of the
    /// evidence, or an option is out of its range.
    pub fn run(&self) -> Result<Controls, ControlsError> {
        self.bootstrap.check()?;
        let (evidence, budget) = (self.evidence, self.budget);
        let n = evidence.sequences().len();
        let ones = vec![1.0; n];
        let statics: Rc<[Statics]> = Rc::new([Statics::new(evidence, Column::Quality, Column::Quality)]);
        let allocator = self.allocator(Column::Quality)?;
        let curve = Curve::new(&allocator, Column::Quality);
        let allocation = allocator.most_quality(budget)?;

        let mut plan = Plan::default();
        let baselines = plan.add_baselines(&statics, &ones, move |_| budget);

        let quality = plan.add(allocation.mean_quality, |weights| curve.score(weights, budget));
        let oracle = Planned { cost: allocation.mean_cost, quality, baselines };

        let cross_fitted = if evidence.has(Column::FirstHalf) { Some(self.cross_fitted(&mut plan)?) } else { None };
        let label_free = if evidence.has(Column::LabelFree) {
            let (cost, value, curve) = self.chosen_by(Column::LabelFree, Column::Quality)?;
            let quality = plan.add(value, move |weights| curve.score(weights, budget));
            Some(Planned { cost, quality, baselines })
        } else {
            None
        };

        let (qualities, costs) = dealt(evidence, &allocation);
        let dealt = Planned { cost: mean(&costs, &ones), quality: plan.add_mean(qualities), baselines };

        let null = self.null.map(|routes| Null::new(routes, evidence)).transpose()?;
        let around = null.as_ref().and_then(|null| null.at(budget));
        let (null_best, null_mean) = around
            .map(|(cost, best, mean)| {
                let (best, mean) = (plan.add_mean(best), plan.add_mean(mean));
                (Planned { cost, quality: best, baselines }, Planned { cost, quality: mean, baselines })
            })
            .unzip();

        let mut controllers = Vec::new();
        for (name, outcomes) in &self.controllers {
            let (qualities, costs) = in_order(name, outcomes, evidence)?;
            let cost = mean(&costs, &ones);
            let costs: Rc<[f64]> = costs.into();
            let of = Rc::clone(&costs);
            let own = plan.add_baselines(&statics, &ones, move |weights| mean(&of, weights));
            let oracle = match allocator.most_quality(cost) {
                Ok(found) => {
                    let curve = &curve;
                    Some(plan.add(found.mean_quality, move |weights| curve.score(weights, mean(&costs, weights))))
                }
                Err(AllocationError::Budget { .. }) => None,
                Err(other) => return Err(other.into()),
            };
            controllers.push((name, Planned { cost, quality: plan.add_mean(qualities), baselines: own }, oracle));
        }

        let sampled = self.bootstrap.run(n, &plan.estimators);
        let level = self.bootstrap.level;
        let row = |planned: Planned| row(&planned, &sampled, level);
        Ok(Controls {
            budget,
            sequences: n,
            candidates: evidence.candidates().len(),
            bootstrap: self.bootstrap,
            proof: allocation.proof,
            oracle: row(oracle),
            cross_fitted: cross_fitted.map(row),
            label_free: label_free.map(row),
            best_static: statics[0].best(&ones, budget).zip(baselines.single).map(|((candidate, best), quality)| {
                StaticRow {
                    candidate: evidence.candidates()[candidate].clone(),
                    row: row(Planned { cost: best.cost, quality, baselines }),
                }
            }),
            best_mix: statics[0]
                .best_mix(&ones, budget)
                .zip(baselines.mix)
                .map(|(mix, quality)| row(Planned { cost: mix.cost, quality, baselines })),
            dealt: row(dealt),
            null_best: null_best.map(row),
            null_mean: null_mean.map(row),
            null_depths: null.map(|null| null.depths()).unwrap_or_default(),
            controllers: controllers
                .into_iter()
                .map(|(name, planned, oracle)| {
                    let regret = oracle.map(|oracle| sampled[oracle].minus(&sampled[planned.quality]).interval(level));
                    ControllerRow { name: name.clone(), row: row(planned), regret }
                })
                .collect(),
        })
    }

    fn allocator(&self, column: Column) -> Result<Allocator<'a>, AllocationError> {
        let allocator = Allocator::by(self.evidence, column)?;
        Ok(match self.work_limit {
            Some(limit) => allocator.work_limit(limit),
            None => allocator,
        })
    }

    /// Cost and score of the allocation by one column, scored by another.
    fn chosen_by(&self, choose: Column, score: Column) -> Result<(f64, f64, Curve), AllocationError> {
        let allocator = self.allocator(choose)?;
        let found = allocator.most_quality(self.budget)?;
        let (cost, value) =
            Allocation::means(self.evidence, &found.choices, |cell| cell.value(score).unwrap_or_default());
        Ok((cost, value, Curve::new(&allocator, score)))
    }

    /// The oracle and the single candidate that it is compared with are both chosen on one half and judged on the other:
    /// halves may be on another scale than the quality, as sampled outputs are.
    fn cross_fitted(&self, plan: &mut Plan<'_>) -> Result<Planned, AllocationError> {
        let budget = self.budget;
        let swapped = [(Column::FirstHalf, Column::SecondHalf), (Column::SecondHalf, Column::FirstHalf)];
        let statics: Rc<[Statics]> = Rc::new(swapped.map(|(choose, score)| Statics::new(self.evidence, choose, score)));
        let ones = vec![1.0; self.evidence.sequences().len()];
        let baselines = plan.add_baselines(&statics, &ones, move |_| budget);
        let first = self.chosen_by(Column::FirstHalf, Column::SecondHalf)?;
        let second = self.chosen_by(Column::SecondHalf, Column::FirstHalf)?;
        let (cost, value) = (f64::midpoint(first.0, second.0), f64::midpoint(first.1, second.1));
        let curves = (first.2, second.2);
        let quality = plan
            .add(value, move |weights| f64::midpoint(curves.0.score(weights, budget), curves.1.score(weights, budget)));
        Ok(Planned { cost, quality, baselines })
    }
}

fn row(planned: &Planned, sampled: &[Sampled], level: f64) -> ControlRow {
    let quality = &sampled[planned.quality];
    let over = |baseline: Option<usize>| baseline.map(|of| quality.minus(&sampled[of]).interval(level));
    let Baselines { single, mix } = planned.baselines;
    ControlRow { mean_cost: planned.cost, quality: quality.interval(level), gain: over(single), over_mix: over(mix) }
}
