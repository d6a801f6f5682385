//! Cross-validation of the predictor.

use super::prompt_predictor::Samples;
use super::{PredictorError, PromptPredictor, PromptStates};
use crate::random;
use dynlayer_metrics::allocation::Evidence;
use dynlayer_metrics::baselines::Outcome;
use rand::seq::SliceRandom;

/// A cross-validation of [`PromptPredictor`]: every sequence gets the choice of a predictor that was trained on other
/// sequences.
///
/// The outcomes are cells of the table, so no model is run. [`Comparison::controller`] compares them with the oracle.
///
/// [`Comparison::controller`]: dynlayer_metrics::baselines::Comparison::controller
///
/// ```
/// use dynlayer_inference::oracle::{PredictorTrial, PromptStates};
/// use dynlayer_metrics::allocation::{Evidence, Record};
/// use dynlayer_metrics::baselines::Comparison;
///
/// // The first feature of a sequence's state tells the depth that it needs.
/// let needs = |sequence: u64| if sequence % 3 == 0 { 1.0f32 } else { -1.0 };
/// let evidence = Evidence::new((0..60).flat_map(|sequence| {
///     let shallow = if needs(sequence) > 0.0 { 0.0 } else { 1.0 };
///     [Record::new(sequence, "exit:2", shallow, 2.0), Record::new(sequence, "full", 1.0, 8.0)]
/// }))?;
/// let states = PromptStates::new(2, (0..60).map(|sequence| (sequence, vec![needs(sequence), 0.5])));
/// let outcomes = PredictorTrial::default().run(&evidence, &states, 4.2)?;
/// let baselines = Comparison::new(&evidence, 4.2).controller("prompt predictor", outcomes).run()?;
/// assert!(baselines.controllers[0].row.gain.is_some_and(|gain| gain.low > 0.0), "it beats one depth for all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictorTrial {
    /// Number of parts that the sequences are divided into, at least 2; 10 by default.
    pub folds: usize,
    /// Seed of the division.
    pub seed: u64,
}

impl Default for PredictorTrial {
    fn default() -> Self {
        Self { folds: 10, seed: 0 }
    }
}

impl PredictorTrial {
    /// Returns the quality and the cost of the predictor's choice for every sequence. `budget` is the mean cost per
    /// sequence to stay within, in the table's unit of cost.
    ///
    /// # Errors
    /// Fails as [`PromptPredictor::fit`] does, and if there are fewer sequences than folds, or fewer than two folds.
    pub fn run(&self, evidence: &Evidence, states: &PromptStates, budget: f64) -> Result<Vec<Outcome>, PredictorError> {
        let samples = Samples::new(evidence, states)?;
        let n = samples.states.len();
        let few = |what, expected, found| Err(PredictorError::TooFew { what, expected, found });
        if self.folds < 2 {
            return few("folds", 2, self.folds);
        }
        if n < self.folds {
            return few("sequences", self.folds, n);
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut random::at(random::TRIAL_FOLDS, self.seed, [0, 0, 0]));
        let mut outcomes = Vec::with_capacity(n);
        for fold in 0..self.folds {
            let in_fold = |(place, _): &(usize, &usize)| place % self.folds == fold;
            let train: Vec<usize> = order.iter().enumerate().filter(|at| !in_fold(at)).map(|(_, i)| *i).collect();
            let names = evidence.candidates();
            let predictor = PromptPredictor::on(&samples, &train, names, states.layer(), budget)?;
            for (_, i) in order.iter().enumerate().filter(in_fold) {
                let cell = samples.cells[*i][predictor.choose(samples.states[*i])];
                let sequence = evidence.sequences()[*i];
                outcomes.push(Outcome { sequence, quality: cell.quality, cost: cell.cost });
            }
        }
        Ok(outcomes)
    }
}
