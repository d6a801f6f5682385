//! The results that follow from the evidence.

use crate::arguments::{Arguments, Cost, Metric};
use crate::predictor;
use dynlayer::inference::oracle::{PromptPredictor, PromptStates};
use dynlayer::metrics::allocation::{Allocation, Allocator, EnvelopePoint, Evidence};
use dynlayer::metrics::baselines::{Baselines, Comparison, ComparisonRow};
use dynlayer::metrics::statistics::Bootstrap;
use serde::Serialize;
use std::error::Error;

/// The number of budgets in the curves.
const BUDGETS: usize = 12;
/// The number of bootstrap resamples for each point of a curve. The table of baselines uses the default number.
const CURVE_RESAMPLES: usize = 200;

/// The predictor's name in the comparison.
pub const PREDICTOR: &str = "prompt predictor";

#[derive(Serialize)]
pub struct Results {
    pub metric: Metric,
    pub cost: Cost,
    pub control_from: &'static str,
    pub kv_policy: String,
    pub max_new_tokens: usize,
    pub chat: bool,
    pub items: usize,
    pub n_layers: usize,
    pub router_layer: usize,
    /// Mean quality of the full model.
    pub full_quality: f64,
    /// Mean cost of the full model.
    pub full_cost: f64,
    /// Mean quality of the full model's halves, if they were measured.
    pub full_halves: Option<f64>,
    /// The least mean cost at which the oracle reaches the full model's mean quality.
    pub least_cost: f64,
    /// `least_cost` as a fraction of the full model's cost.
    pub least_fraction: f64,
    /// The oracle and its baselines at that cost.
    pub baselines: Baselines,
    /// The means of each candidate, run for all sequences.
    pub statics: Vec<Static>,
    /// The oracle and its baselines at other budgets.
    pub curves: Vec<Point>,
    #[serde(skip)]
    pub frontier: Vec<EnvelopePoint>,
    #[serde(skip)]
    pub allocation: Allocation,
    #[serde(skip)]
    pub predictor: Option<PromptPredictor>,
}

#[derive(Serialize)]
pub struct Static {
    pub candidate: String,
    pub mean_quality: f64,
    pub mean_cost: f64,
    /// The number of sequences for which the oracle chose this candidate, at the least cost.
    pub chosen: usize,
}

/// Mean qualities at one budget. A quality is `None` if it was not measured, or if nothing fits the budget.
#[derive(Serialize)]
pub struct Point {
    pub budget: f64,
    pub oracle: f64,
    pub cross_fitted: Option<f64>,
    pub label_free: Option<f64>,
    pub null_best: Option<f64>,
    pub null_mean: Option<f64>,
    pub one_for_all: Option<f64>,
    pub best_mix: Option<f64>,
    pub dealt: f64,
    pub router: Option<f64>,
    pub router_cost: Option<f64>,
}

impl Results {
    pub fn new(
        arguments: &Arguments,
        n_layers: usize,
        evidence: &Evidence,
        null: Option<&Evidence>,
        states: &PromptStates,
    ) -> Result<Self, Box<dyn Error>> {
        let means = |candidate: usize| evidence.static_means(candidate).ok_or("a candidate is missing for an item");
        let full = evidence.candidates().iter().position(|name| name == "full").ok_or("there is no full model")?;
        let (full_quality, full_cost) = means(full)?;
        let allocator = Allocator::new(evidence)?;
        let allocation = allocator.least_cost(full_quality)?;
        let least_cost = allocation.mean_cost;
        let counts = allocation.counts(evidence);
        let statics = evidence.candidates().iter().zip(counts).enumerate().map(|(index, (name, chosen))| {
            let (mean_quality, mean_cost) = means(index)?;
            Ok::<_, Box<dyn Error>>(Static { candidate: name.clone(), mean_quality, mean_cost, chosen })
        });
        let frontier = allocator.envelope().points().to_vec();
        let measured = Measured { evidence, null, states };
        let (from, to) = (frontier.first().map_or(0.0, |point| point.mean_cost), full_cost.max(least_cost));
        let budget = |i: usize| from + (to - from) * i as f64 / (BUDGETS - 1) as f64;
        let curves = (0..BUDGETS).map(|i| measured.point(budget(i)));
        Ok(Self {
            metric: arguments.metric,
            cost: arguments.cost,
            control_from: "last-prompt-token",
            kv_policy: arguments.kv_policy.to_string(),
            max_new_tokens: arguments.max_new_tokens,
            chat: arguments.chat,
            items: evidence.sequences().len(),
            n_layers,
            router_layer: states.layer(),
            full_quality,
            full_cost,
            full_halves: halves(evidence, full),
            least_cost,
            least_fraction: least_cost / full_cost,
            baselines: measured.compare(least_cost, Bootstrap::default())?,
            statics: statics.collect::<Result<_, _>>()?,
            curves: curves.collect::<Result<_, _>>()?,
            predictor: predictor::predictor(evidence, states, least_cost),
            frontier,
            allocation,
        })
    }
}

/// Returns the mean quality over the sequences and halves of a candidate; `None` if they were not measured.
fn halves(evidence: &Evidence, candidate: usize) -> Option<f64> {
    let n = evidence.sequences().len();
    let both = (0..n).map(|sequence| evidence.cell(sequence, candidate)?.halves);
    Some(both.map(|both| both.map(|[first, second]| f64::midpoint(first, second))).sum::<Option<f64>>()? / n as f64)
}

struct Measured<'a> {
    evidence: &'a Evidence,
    null: Option<&'a Evidence>,
    states: &'a PromptStates,
}

impl Measured<'_> {
    fn compare(&self, budget: f64, bootstrap: Bootstrap) -> Result<Baselines, Box<dyn Error>> {
        let mut comparison = Comparison::new(self.evidence, budget).bootstrap(bootstrap);
        if let Some(null) = self.null {
            comparison = comparison.null(null);
        }
        if let Some(outcomes) = predictor::outcomes(self.evidence, self.states, budget) {
            comparison = comparison.controller(PREDICTOR, outcomes);
        }
        Ok(comparison.run()?)
    }

    fn point(&self, budget: f64) -> Result<Point, Box<dyn Error>> {
        let baselines = self.compare(budget, Bootstrap { resamples: CURVE_RESAMPLES, ..Bootstrap::default() })?;
        let value = |row: &ComparisonRow| row.quality.estimate;
        let predictor = baselines.controllers.first().map(|controller| &controller.row);
        Ok(Point {
            budget,
            oracle: value(&baselines.oracle),
            cross_fitted: baselines.cross_fitted.as_ref().map(value),
            label_free: baselines.label_free.as_ref().map(value),
            null_best: baselines.null_best.as_ref().map(value),
            null_mean: baselines.null_mean.as_ref().map(value),
            one_for_all: baselines.best_static.as_ref().map(|best| value(&best.row)),
            best_mix: baselines.best_mix.as_ref().map(value),
            dealt: value(&baselines.dealt),
            router: predictor.map(value),
            router_cost: predictor.map(|row| row.mean_cost),
        })
    }
}
