//! Prediction of each candidate's quality for a prompt.

use super::ridge::Ridge;
use super::{PredictorError, PromptStates};
use crate::oracle::as_f64;
use dynlayer_metrics::allocation::{Cell, Evidence};
use serde::{Deserialize, Serialize};

/// A predictor of every candidate's quality from a prompt's mean hidden state, which chooses the candidate with the
/// largest predicted quality minus its cost times a price.
///
/// It is a ridge regression per candidate. The strength of the regularisation is chosen by leave-one-out
/// cross-validation. The price is the lowest at which the choices from the leave-one-out predictions keep the budget.
/// With the largest strength every prediction is the candidate's mean quality, so that the predictor chooses the same
/// candidate for all prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptPredictor {
    /// The layer whose input the hidden states are.
    pub(super) layer: usize,
    pub(super) candidates: Vec<String>,
    /// The mean cost of each candidate.
    pub(super) costs: Vec<f64>,
    /// The price of a unit of cost, in quality.
    pub(super) price: f64,
    /// The mean of each feature.
    pub(super) mean: Vec<f32>,
    /// The weights, `[candidate][feature]`.
    pub(super) weights: Vec<Vec<f32>>,
    /// The mean quality of each candidate.
    pub(super) intercepts: Vec<f64>,
    strength: f64,
}

/// The sequences of a table, each with its state and its cells.
pub(super) struct Samples<'a> {
    pub(super) states: Vec<&'a [f32]>,
    /// The cells, `[sequence][candidate]`.
    pub(super) cells: Vec<Vec<Cell>>,
}

impl<'a> Samples<'a> {
    pub(super) fn new(evidence: &Evidence, states: &'a PromptStates) -> Result<Self, PredictorError> {
        let (mut found, mut cells) = (Vec::new(), Vec::new());
        for (index, sequence) in evidence.sequences().iter().copied().enumerate() {
            found.push(states.get(sequence).ok_or(PredictorError::NoState { sequence })?);
            let row = evidence.candidates().iter().enumerate().map(|(candidate, name)| {
                let gap = || PredictorError::Gap { sequence, candidate: name.clone() };
                evidence.cell(index, candidate).ok_or_else(gap)
            });
            cells.push(row.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self { states: found, cells })
    }
}

impl PromptPredictor {
    /// Trains on all sequences of a table, for a mean budget in the table's unit of cost.
    ///
    /// # Errors
    /// [`PredictorError`] if there are fewer than four sequences, a state or a cell is missing, or even the cheapest
    /// candidate exceeds the budget.
    pub fn fit(evidence: &Evidence, states: &PromptStates, budget: f64) -> Result<Self, PredictorError> {
        let samples = Samples::new(evidence, states)?;
        let all: Vec<usize> = (0..samples.states.len()).collect();
        Self::on(&samples, &all, evidence.candidates(), states.layer(), budget)
    }

    /// Trains on some sequences, given by index.
    pub(super) fn on(
        samples: &Samples<'_>,
        chosen: &[usize],
        candidates: &[String],
        layer: usize,
        budget: f64,
    ) -> Result<Self, PredictorError> {
        const LEAST: usize = 4;
        let found = chosen.len();
        let too_few = PredictorError::TooFew { what: "sequences to learn from", expected: LEAST, found };
        if found < LEAST {
            return Err(too_few);
        }
        let states: Vec<&[f32]> = chosen.iter().map(|i| samples.states[*i]).collect();
        let cells: Vec<&Vec<Cell>> = chosen.iter().map(|i| &samples.cells[*i]).collect();
        let targets: Vec<Vec<f64>> = cells.iter().map(|row| row.iter().map(|cell| cell.quality).collect()).collect();
        let cost = |candidate: usize| cells.iter().map(|row| row[candidate].cost).sum::<f64>() / as_f64(found);
        let costs: Vec<f64> = (0..candidates.len()).map(cost).collect();
        let smallest = costs.iter().copied().fold(f64::INFINITY, f64::min);
        if budget.is_nan() || budget * (1.0 + 1e-9) < smallest {
            return Err(PredictorError::Budget { budget, smallest });
        }
        let ridge = Ridge::fit(&states, &targets).ok_or(too_few)?;
        let spent = |price: f64| {
            let choices = ridge.left_out.iter().map(|row| best(row, &costs, price));
            choices.zip(&cells).map(|(choice, row)| row[choice].cost).sum::<f64>() / as_f64(found)
        };
        // Slightly higher, so that choices do not depend on rounding in a controller, which computes in f32.
        let price = least_price(spent, budget) * (1.0 + 1e-4);
        Ok(Self {
            layer,
            candidates: candidates.to_vec(),
            price,
            mean: ridge.mean.iter().map(|x| single(*x)).collect(),
            weights: ridge.weights.iter().map(|row| row.iter().map(|x| single(*x)).collect()).collect(),
            intercepts: ridge.intercepts,
            strength: ridge.strength,
            costs,
        })
    }

    /// The layer whose input the hidden states are.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// The names of the candidates that the predictor chooses among.
    pub fn candidates(&self) -> &[String] {
        &self.candidates
    }

    /// The price: the predicted quality that a candidate must gain for each additional unit of its cost.
    pub fn price(&self) -> f64 {
        self.price
    }

    /// The strength of the regularisation: the factor of the sum of squared weights, which is added to the mean squared
    /// error. Features are scaled to equal variances with the sum 1. With 1e9 all predictions are mean qualities.
    pub fn strength(&self) -> f64 {
        self.strength
    }

    /// Every candidate's predicted quality for a prompt's mean state, `[d_model]`; an empty state stands for the mean
    /// state.
    pub fn predict(&self, state: &[f32]) -> Vec<f64> {
        let centred: Vec<f64> =
            state.iter().zip(&self.mean).map(|(x, mean)| f64::from(*x) - f64::from(*mean)).collect();
        let dot = |weights: &Vec<f32>| weights.iter().zip(&centred).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
        self.intercepts.iter().zip(&self.weights).map(|(intercept, weights)| intercept + dot(weights)).collect()
    }

    /// The candidate for a prompt's mean state, as an index into [`candidates`](Self::candidates).
    pub fn choose(&self, state: &[f32]) -> usize {
        best(&self.predict(state), &self.costs, self.price)
    }
}

/// The candidate with the largest quality minus cost times price; the cheapest if several are equal.
fn best(qualities: &[f64], costs: &[f64], price: f64) -> usize {
    let worth = |i: &usize| (qualities[*i] - price * costs[*i], -costs[*i]);
    let better = |a: &usize, b: &usize| worth(a).partial_cmp(&worth(b)).unwrap_or(std::cmp::Ordering::Equal);
    (0..costs.len()).max_by(better).unwrap_or_default()
}

/// A close upper estimate of the lowest price at which the cost `spent` is within the budget. The cost falls as the
/// price rises.
fn least_price(spent: impl Fn(f64) -> f64, budget: f64) -> f64 {
    let keeps = |price: f64| spent(price) <= budget * (1.0 + 1e-9);
    if keeps(0.0) {
        return 0.0;
    }
    let mut high = 1e-9;
    while !keeps(high) && high < 1e100 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if keeps(middle) { high = middle } else { low = middle }
    }
    high
}

#[expect(clippy::cast_possible_truncation, reason = "weights are kept in the precision that they are used in")]
fn single(x: f64) -> f32 {
    x as f32
}
