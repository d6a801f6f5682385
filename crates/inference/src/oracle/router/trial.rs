//! How good the predictor is on prompts that it has not seen.

use super::predictor::Samples;
use super::{PromptPredictor, PromptStates, RouterTrialError};
use crate::oracle::{Evidence, Outcome};
use crate::random;
use rand::seq::SliceRandom;

/// Cross-validation of a [`PromptPredictor`]: every sequence is chosen for by a predictor that has not seen it, whose
/// strength and price come from the others alone.
///
/// The outcomes are the table's cells, so nothing is run; [`ControlsRun::controller`](crate::oracle::ControlsRun) sets
/// them beside the oracle.
///
/// ```
/// use dynlayer_inference::oracle::{ControlsRun, Evidence, PromptStates, Record, RouterTrial};
///
/// // Sequences whose state says how deep they must go.
/// let needs = |sequence: u64| if sequence % 3 == 0 { 1.0f32 } else { -1.0 };
/// let evidence = Evidence::new((0..60).flat_map(|sequence| {
///     let shallow = if needs(sequence) > 0.0 { 0.0 } else { 1.0 };
///     [Record::new(sequence, "exit:2", shallow, 2.0), Record::new(sequence, "full", 1.0, 8.0)]
/// }))?;
/// let states = PromptStates::new(2, (0..60).map(|sequence| (sequence, vec![needs(sequence), 0.5])));
/// let outcomes = RouterTrial::default().run(&evidence, &states, 4.2)?;
/// let controls = ControlsRun::new(&evidence, 4.2).controller("prompt router", outcomes).run()?;
/// assert!(controls.controllers[0].row.gain.is_some_and(|gain| gain.low > 0.0), "it beats one depth for all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterTrial {
    /// Parts that the sequences are divided into; at least 2, 10 unless set.
    pub folds: usize,
    /// Seeds the division.
    pub seed: u64,
}

impl Default for RouterTrial {
    fn default() -> Self {
        Self { folds: 10, seed: 0 }
    }
}

impl RouterTrial {
    /// What the predictor does with every sequence, for a mean budget in the table's measure.
    ///
    /// # Errors
    /// As [`PromptPredictor::fit`], and if there are fewer sequences than folds, or fewer than two folds.
    pub fn run(
        &self,
        evidence: &Evidence,
        states: &PromptStates,
        budget: f64,
    ) -> Result<Vec<Outcome>, RouterTrialError> {
        let samples = Samples::new(evidence, states)?;
        let n = samples.states.len();
        let few = |what, expected, found| Err(RouterTrialError::TooFew { what, expected, found });
        if self.folds < 2 {
            return few("folds", 2, self.folds);
        }
        if n < self.folds {
            return few("sequences", self.folds, n);
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut random::at(*b"folds\0\0\0", self.seed, 0, 0, 0));
        let mut outcomes = Vec::with_capacity(n);
        for fold in 0..self.folds {
            let of = |(place, _): &(usize, &usize)| place % self.folds == fold;
            let train: Vec<usize> = order.iter().enumerate().filter(|at| !of(at)).map(|(_, i)| *i).collect();
            let names = evidence.candidates();
            let predictor = PromptPredictor::on(&samples, &train, names, states.layer(), budget)?;
            for (_, i) in order.iter().enumerate().filter(of) {
                let cell = samples.cells[*i][predictor.choose(samples.states[*i])];
                let sequence = evidence.sequences()[*i];
                outcomes.push(Outcome { sequence, quality: cell.quality, cost: cell.cost });
            }
        }
        Ok(outcomes)
    }
}
