//! The results that follow from the evidence.

use super::predictor;
use crate::data::Data;
use crate::evidence::{Cost, EvidenceArguments, Metric};
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

/// The oracle, its baselines and the candidates, as data.
#[derive(Serialize)]
pub struct Results {
    /// The measure of quality.
    pub metric: Metric,
    /// The unit of cost.
    pub cost: Cost,
    /// The first token that the candidates decide about.
    pub control_from: &'static str,
    /// The keys and values at skipped layers.
    pub kv_policy: String,
    /// The largest number of generated tokens.
    pub max_new_tokens: usize,
    /// `true` if prompts are messages in the chat template.
    pub chat: bool,
    /// `true` if texts that are no chats begin with a special token that the tokenizer adds.
    pub bos: bool,
    /// The number of items.
    pub items: usize,
    /// The number of items that were left out because they do not fit the model's context.
    pub left_out: usize,
    /// The warnings about options and data that were printed before the work.
    pub warnings: Vec<String>,
    /// The number of the model's layers.
    pub n_layers: usize,
    /// The layer whose input states the prompt predictor reads.
    pub router_layer: usize,
    /// Mean quality of the full model.
    pub full_quality: f64,
    /// Mean cost of the full model.
    pub full_cost: f64,
    /// Mean quality of the full model's halves, if they were measured.
    pub full_halves: Option<f64>,
    /// The reason why the qualities do not compare the candidates; `None` if they do.
    pub says_nothing: Option<&'static str>,
    /// The least mean cost at which the oracle reaches the full model's mean quality.
    pub least_cost: f64,
    /// `least_cost` as a fraction of the full model's cost; `None` if the qualities say nothing.
    pub least_fraction: Option<f64>,
    /// The oracle and its baselines at that cost.
    pub baselines: Baselines,
    /// The means of each candidate, run for all sequences.
    pub statics: Vec<Static>,
    /// The oracle and its baselines at other budgets.
    pub curves: Vec<Point>,
    /// The oracle's frontier of quality and cost.
    #[serde(skip)]
    pub frontier: Vec<EnvelopePoint>,
    /// The allocation at the least cost.
    #[serde(skip)]
    pub allocation: Allocation,
    /// A predictor that was trained on all items, if that is possible.
    #[serde(skip)]
    pub predictor: Option<PromptPredictor>,
}

/// A candidate that runs for all sequences.
#[derive(Serialize)]
pub struct Static {
    /// The name of the candidate.
    pub candidate: String,
    /// Its mean quality.
    pub mean_quality: f64,
    /// Its mean cost.
    pub mean_cost: f64,
    /// The number of sequences for which the oracle chose this candidate, at the least cost.
    pub chosen: usize,
}

/// Mean qualities at one budget. A quality is `None` if it was not measured, or if nothing fits the budget.
#[derive(Serialize)]
pub struct Point {
    /// The budget, a mean cost.
    pub budget: f64,
    /// The oracle.
    pub oracle: f64,
    /// The cross-fitted oracle.
    pub cross_fitted: Option<f64>,
    /// The label-free oracle.
    pub label_free: Option<f64>,
    /// The best of the random routes.
    pub null_best: Option<f64>,
    /// The mean of the random routes.
    pub null_mean: Option<f64>,
    /// The best candidate for all sequences.
    pub one_for_all: Option<f64>,
    /// The best mix of candidates.
    pub best_mix: Option<f64>,
    /// The oracle's candidates, dealt out at random.
    pub dealt: f64,
    /// The prompt predictor.
    pub router: Option<f64>,
    /// Its mean cost.
    pub router_cost: Option<f64>,
}

impl Results {
    /// Compares the candidates of a table, whose random routes are in `null`.
    ///
    /// # Errors
    /// If the table lacks the full model or a candidate for an item.
    pub fn new(
        (arguments, cost): (&EvidenceArguments, Cost),
        n_layers: usize,
        bos: bool,
        evidence: &Evidence,
        null: Option<&Evidence>,
        states: &PromptStates,
        (data, warnings): (&Data, Vec<String>),
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
        let says_nothing = says_nothing(arguments.metric, full_quality, evidence);
        Ok(Self {
            metric: arguments.metric,
            cost,
            control_from: "last-prompt-token",
            kv_policy: arguments.kv_policy.to_string(),
            max_new_tokens: arguments.max_new_tokens,
            chat: arguments.chat,
            bos,
            items: evidence.sequences().len(),
            left_out: data.left_out.len(),
            warnings,
            n_layers,
            router_layer: states.layer(),
            full_quality,
            full_cost,
            full_halves: halves(evidence, full),
            says_nothing,
            least_cost,
            least_fraction: says_nothing.is_none().then(|| least_cost / full_cost),
            baselines: measured.compare(least_cost, Bootstrap::default())?,
            statics: statics.collect::<Result<_, _>>()?,
            curves: curves.collect::<Result<_, _>>()?,
            predictor: predictor::predictor(evidence, states, least_cost),
            frontier,
            allocation,
        })
    }
}

/// Returns why the qualities do not compare the candidates; `None` if they do.
fn says_nothing(metric: Metric, full_quality: f64, evidence: &Evidence) -> Option<&'static str> {
    // Log-probabilities are at most 0, and the other qualities at least 0.
    if metric != Metric::Nll && full_quality <= 0.0 {
        return Some("the full model's quality is 0 for every item");
    }
    let same = |sequence: usize| {
        let candidates = 0..evidence.candidates().len();
        let qualities = candidates.filter_map(|one| Some(evidence.cell(sequence, one)?.quality));
        let (low, high) =
            qualities.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(one), high.max(one)));
        low >= high
    };
    let all_same = (0..evidence.sequences().len()).all(same);
    all_same.then_some("all candidates have the same quality, for every item")
}

/// Returns the mean quality of a candidate over the halves, for the sequences that have them; `None` if none has.
fn halves(evidence: &Evidence, candidate: usize) -> Option<f64> {
    let sequences = 0..evidence.sequences().len();
    let both = sequences.filter_map(|sequence| evidence.cell(sequence, candidate)?.halves);
    let means: Vec<f64> = both.map(|[first, second]| f64::midpoint(first, second)).collect();
    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
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
