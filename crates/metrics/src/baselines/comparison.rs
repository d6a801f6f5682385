//! Computes the baselines.

use super::blind::{Means, Statics, dealt, weighted_mean};
use super::curve::Curve;
use super::null::{Null, NullAt};
use super::outcome::in_order;
use super::resampled::{Estimator, Resampled, resample};
use super::{Baselines, ComparisonError, ComparisonRow, ControllerRow, Outcome, StaticRow};
use crate::allocation::{Allocation, AllocationError, Allocator, Column, Evidence};
use crate::numbers::{ToF64, mean};
use crate::statistics::{Bootstrap, Interval, StatisticsError};
use std::rc::Rc;

/// A comparison of the oracle with its baselines at one budget.
///
/// ```
/// use dynlayer_metrics::allocation::{Evidence, Record};
/// use dynlayer_metrics::baselines::{Comparison, Outcome};
///
/// let evidence = Evidence::new((0..40).flat_map(|sequence| {
///     let needs_depth = sequence % 2 == 0;
///     [
///         Record::new(sequence, "exit:2", if needs_depth { 0.0 } else { 1.0 }, 2.0),
///         Record::new(sequence, "full", 1.0, 8.0),
///     ]
/// }))?;
/// let outcomes = (0..40).map(|sequence| Outcome { sequence, quality: 0.5, cost: 2.0 });
/// let baselines = Comparison::new(&evidence, 5.0).controller("always exit", outcomes).run()?;
/// assert_eq!(baselines.oracle.quality.estimate, 1.0);
/// assert_eq!(baselines.dealt.quality.estimate, 0.75);
/// let best = baselines.best_static.as_ref().ok_or("none within the budget")?;
/// assert_eq!((best.candidate.as_str(), best.row.quality.estimate), ("exit:2", 0.5));
/// assert_eq!(baselines.controllers[0].regret.map(|regret| regret.estimate), Some(0.0));
/// assert!(baselines.to_string().contains("one candidate for all (exit:2)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    evidence: &'a Evidence,
    budget: f64,
    null: Option<&'a Evidence>,
    controllers: Vec<(String, Vec<Outcome>)>,
    bootstrap: Bootstrap,
    work_limit: Option<u64>,
}

impl<'a> Comparison<'a> {
    /// A comparison at a mean budget per sequence, in the evidence's unit of cost.
    pub fn new(evidence: &'a Evidence, budget: f64) -> Self {
        let bootstrap = Bootstrap::default();
        Self { evidence, budget, null: None, controllers: Vec::new(), bootstrap, work_limit: None }
    }

    /// Adds random routes for the null oracle. Each depth needs as many routes as the evidence has candidates, and each
    /// route must cost the same for all sequences.
    pub fn null(mut self, routes: &'a Evidence) -> Self {
        self.null = Some(routes);
        self
    }

    /// Adds the outcomes of a real controller, one for every sequence of the evidence.
    pub fn controller(mut self, name: impl Into<String>, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        self.controllers.push((name.into(), outcomes.into_iter().collect()));
        self
    }

    /// Sets how intervals are computed; by default with 1000 resamples, 95 % and seed 0.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Sets [`Allocator::work_limit`] for every allocation.
    pub fn work_limit(mut self, states: u64) -> Self {
        self.work_limit = Some(states);
        self
    }

    /// Computes the oracle, the baselines and their intervals.
    ///
    /// Values are those of exact allocations. Every resample is allocated anew, by the linear relaxation, and has its
    /// own best single candidate and best mix. The dealt candidates, random routes and controllers stay the same.
    ///
    /// The cross-fitted oracle and what it is compared with rest on the sequences that have halves. Its resamples draw
    /// as many of these sequences as there are. The intervals of a single sequence have infinite bounds.
    ///
    /// # Errors
    /// [`ComparisonError`] if the budget is infeasible, the sequences of the random routes or of a controller differ
    /// from those of the evidence, or the bootstrap has fewer than 2 resamples or a confidence out of range.
    pub fn run(&self) -> Result<Baselines, ComparisonError> {
        let (evidence, budget, bootstrap) = (self.evidence, self.budget, &self.bootstrap);
        let n = evidence.sequences().len();
        bootstrap.check(n)?;
        if bootstrap.resamples < 2 {
            return Err(StatisticsError::TooFew { what: "resamples", found: bootstrap.resamples, needed: 2 }.into());
        }
        let statics: Rc<[Statics]> = Rc::new([Statics::new(evidence, Column::Quality, Column::Quality)]);
        let allocator = self.allocator(evidence, Column::Quality)?;
        let curve = Curve::new(&allocator, Column::Quality);
        let allocation = allocator.most_quality(budget)?;
        let null = self.null.map(|routes| Null::new(routes, evidence)).transpose()?;
        let halved = evidence.with_halves();
        let cross_fitted = halved.as_deref().map_or(Ok(None), |halved| self.cross_fitted(halved))?;

        // All numbers are computed together on the same resamples, so they are collected first.
        let mut plan = Plan { ones: vec![1.0; n], numbers: Vec::new() };
        let blind = plan.blind(&statics, move |_| budget);
        let quality = plan.number(allocation.mean_quality, |weights| curve.score(weights, budget));
        let oracle = PlannedRow { cost: allocation.mean_cost, quality, blind };
        let label_free = evidence.has(Column::LabelFree).then(|| self.label_free(&mut plan, blind)).transpose()?;
        let (qualities, costs) = dealt(evidence, &allocation);
        let dealt = PlannedRow { cost: mean(&costs), quality: plan.mean(qualities), blind };
        let (null_best, null_mean) = null
            .as_ref()
            .and_then(|null| null.at(budget))
            .map(|NullAt { cost, best, mean }| {
                [best, mean].map(|values| PlannedRow { cost, quality: plan.mean(values), blind }).into()
            })
            .unzip();
        let mut controllers = Vec::new();
        for (name, outcomes) in &self.controllers {
            let (qualities, costs) = in_order(name, outcomes, evidence)?;
            controllers.push((name, plan.controller(&allocator, &curve, &statics, qualities, costs.into())?));
        }

        let resampled = resample(bootstrap, n, &plan.numbers);
        let row = |planned: PlannedRow| planned.row(&resampled, bootstrap);
        let best_static = statics[0].best(&plan.ones, budget).zip(blind.single).map(|((candidate, best), quality)| {
            let candidate = evidence.candidates()[candidate].clone();
            StaticRow { candidate, row: row(PlannedRow { cost: best.cost, quality, blind }) }
        });
        let best_mix = statics[0].best_mix(&plan.ones, budget).zip(blind.mix);
        let controller = |(name, (planned, oracle)): (&String, (PlannedRow, Option<usize>))| ControllerRow {
            name: name.clone(),
            row: row(planned),
            regret: oracle.map(|oracle| difference(&resampled, oracle, planned.quality, bootstrap)),
        };
        Ok(Baselines {
            budget,
            sequences: n,
            candidates: evidence.candidates().len(),
            bootstrap: self.bootstrap,
            proof: allocation.proof,
            oracle: row(oracle),
            with_halves: halved.map_or(0, |halved| halved.sequences().len()),
            cross_fitted,
            label_free: label_free.map(row),
            best_static,
            best_mix: best_mix.map(|(mix, quality)| row(PlannedRow { cost: mix.cost, quality, blind })),
            dealt: row(dealt),
            null_best: null_best.map(row),
            null_mean: null_mean.map(row),
            null_depths: null.map(|null| null.depths()).unwrap_or_default(),
            controllers: controllers.into_iter().map(controller).collect(),
        })
    }

    fn allocator<'e>(&self, evidence: &'e Evidence, column: Column) -> Result<Allocator<'e>, AllocationError> {
        let allocator = Allocator::by(evidence, column)?;
        Ok(match self.work_limit {
            Some(limit) => allocator.work_limit(limit),
            None => allocator,
        })
    }

    /// Returns the cost of the best allocation by the column `choose`, its mean in the column `score`, and its curve.
    fn chosen_by(
        &self,
        evidence: &Evidence,
        choose: Column,
        score: Column,
    ) -> Result<(f64, f64, Curve), AllocationError> {
        let allocator = self.allocator(evidence, choose)?;
        let found = allocator.most_quality(self.budget)?;
        let (cost, value) = Allocation::means(evidence, &found.choices, |cell| cell.value(score).unwrap_or_default());
        Ok((cost, value, Curve::new(&allocator, score)))
    }

    /// Adds the oracle that chooses by the similarity to the full model's output.
    fn label_free(&self, plan: &mut Plan<'_>, blind: Blind) -> Result<PlannedRow, AllocationError> {
        let budget = self.budget;
        let (cost, value, curve) = self.chosen_by(self.evidence, Column::LabelFree, Column::Quality)?;
        let quality = plan.number(value, move |weights| curve.score(weights, budget));
        Ok(PlannedRow { cost, quality, blind })
    }

    /// The oracle that is chosen on one half and judged on the other, of a table in which all sequences have halves;
    /// `None` if even the cheapest candidates of these sequences exceed the budget. Its blind baselines are computed
    /// from the halves too, since these may be on another scale than the quality, as with sampled outputs.
    fn cross_fitted(&self, halved: &Evidence) -> Result<Option<ComparisonRow>, AllocationError> {
        let (budget, n) = (self.budget, halved.sequences().len());
        let first = match self.chosen_by(halved, Column::FirstHalf, Column::SecondHalf) {
            Err(AllocationError::Budget { .. }) => return Ok(None),
            found => found?,
        };
        let second = self.chosen_by(halved, Column::SecondHalf, Column::FirstHalf)?;
        let swapped = [(Column::FirstHalf, Column::SecondHalf), (Column::SecondHalf, Column::FirstHalf)];
        let statics: Rc<[Statics]> = Rc::new(swapped.map(|(choose, score)| Statics::new(halved, choose, score)));
        let mut plan = Plan { ones: vec![1.0; n], numbers: Vec::new() };
        let blind = plan.blind(&statics, move |_| budget);
        let (cost, value) = (f64::midpoint(first.0, second.0), f64::midpoint(first.1, second.1));
        let curves = (first.2, second.2);
        let quality = plan.number(value, move |weights| {
            f64::midpoint(curves.0.score(weights, budget), curves.1.score(weights, budget))
        });
        let resampled = resample(&self.bootstrap, n, &plan.numbers);
        Ok(Some(PlannedRow { cost, quality, blind }.row(&resampled, &self.bootstrap)))
    }
}

/// The numbers of the report, to be computed together on the same resamples.
struct Plan<'a> {
    /// A weight of 1 for every sequence, as in the sample itself.
    ones: Vec<f64>,
    /// For each number, the value that is reported and the estimator.
    numbers: Vec<(f64, Estimator<'a>)>,
}

/// A row of the report, its numbers given by index into [`Plan::numbers`].
#[derive(Clone, Copy)]
struct PlannedRow {
    cost: f64,
    quality: usize,
    blind: Blind,
}

/// Indices into [`Plan::numbers`] of the two baselines that ignore the sequence; `None` if no candidate is affordable.
#[derive(Clone, Copy, Default)]
struct Blind {
    single: Option<usize>,
    mix: Option<usize>,
}

impl<'a> Plan<'a> {
    /// Adds a number, and returns its index.
    fn number(&mut self, value: f64, estimator: impl Fn(&[f64]) -> f64 + 'a) -> usize {
        self.numbers.push((value, Box::new(estimator)));
        self.numbers.len() - 1
    }

    /// Adds the mean of one value per sequence.
    fn mean(&mut self, values: Vec<f64>) -> usize {
        self.number(mean(&values), move |weights| weighted_mean(&values, weights))
    }

    /// Adds the best single candidate and the best mix within a budget, averaged over several columns. Both are chosen
    /// anew for every resample, within the resample's own budget.
    fn blind(&mut self, columns: &Rc<[Statics]>, budget: impl Fn(&[f64]) -> f64 + Clone + 'a) -> Blind {
        let now = budget(&self.ones);
        let affordable = |column: &Statics| column.best(&self.ones, now).is_some_and(|(_, best)| best.fits(now));
        if !columns.iter().all(affordable) {
            return Blind::default();
        }
        let mut add = |choose: fn(&Statics, &[f64], f64) -> Option<Means>| {
            let (columns, budget) = (Rc::clone(columns), budget.clone());
            let estimator = move |weights: &[f64]| {
                let budget = budget(weights);
                let score = |column: &Statics| choose(column, weights, budget).map_or(0.0, |chosen| chosen.score);
                columns.iter().map(score).sum::<f64>() / columns.len().to_f64()
            };
            Some(self.number(estimator(&self.ones), estimator))
        };
        let single = add(|column, weights, budget| column.best(weights, budget).map(|(_, best)| best));
        Blind { single, mix: add(Statics::best_mix) }
    }

    /// Adds a real controller, and the oracle at the controller's own cost; `None` if no allocation is that cheap.
    fn controller(
        &mut self,
        allocator: &Allocator<'_>,
        curve: &'a Curve,
        statics: &Rc<[Statics]>,
        qualities: Vec<f64>,
        costs: Rc<[f64]>,
    ) -> Result<(PlannedRow, Option<usize>), AllocationError> {
        let cost = mean(&costs);
        let budget = move |weights: &[f64]| weighted_mean(&costs, weights);
        let blind = self.blind(statics, budget.clone());
        let oracle = match allocator.most_quality(cost) {
            Ok(found) => Some(self.number(found.mean_quality, move |weights| curve.score(weights, budget(weights)))),
            Err(AllocationError::Budget { .. }) => None,
            Err(other) => return Err(other),
        };
        Ok((PlannedRow { cost, quality: self.mean(qualities), blind }, oracle))
    }
}

impl PlannedRow {
    fn row(&self, resampled: &[Resampled], bootstrap: &Bootstrap) -> ComparisonRow {
        let over = |baseline: Option<usize>| baseline.map(|base| difference(resampled, self.quality, base, bootstrap));
        ComparisonRow {
            mean_cost: self.cost,
            quality: resampled[self.quality].interval(bootstrap),
            gain: over(self.blind.single),
            over_mix: over(self.blind.mix),
        }
    }
}

/// The interval of the difference of two numbers, given by index.
fn difference(resampled: &[Resampled], number: usize, other: usize, bootstrap: &Bootstrap) -> Interval {
    resampled[number].minus(&resampled[other]).interval(bootstrap)
}
