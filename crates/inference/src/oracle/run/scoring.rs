//! Qualities and costs of an item's lanes.

use super::lane::{Lane, LaneResult, Owner, Task};
use super::measure::QualityFn;
use super::results::{MeasuredCell, Output};
use super::{Item, Measure, OracleError, OracleRun, ScoringInput};
use crate::oracle::as_f64;
use std::collections::HashMap;

/// The finished lanes of an item.
pub(super) struct Scoring<'s> {
    pub(super) run: &'s OracleRun<'s>,
    pub(super) item: &'s Item,
    pub(super) results: &'s HashMap<Lane, LaneResult>,
    /// The full model's own output, if it was generated.
    pub(super) full: Option<&'s Output>,
}

impl Scoring<'_> {
    /// A cell for each candidate.
    pub(super) fn candidates(&self) -> Result<Vec<MeasuredCell>, OracleError> {
        let candidates = self.run.candidates.iter().enumerate();
        candidates.map(|(index, candidate)| self.cell(Owner::Candidate(index), candidate.name().to_owned())).collect()
    }

    /// A cell for each random route.
    pub(super) fn routes(&self) -> Result<Vec<MeasuredCell>, OracleError> {
        let cell = |(depth, number)| self.cell(Owner::Route { depth, number }, format!("random:{depth}#{number}"));
        self.run.routes().map(cell).collect()
    }

    fn cell(&self, owner: Owner, candidate: String) -> Result<MeasuredCell, OracleError> {
        let mut cell = match &self.run.measure {
            Measure::Output { quality, .. } => self.of_output(owner, quality),
            Measure::Likelihood => self.of_likelihood(owner),
            Measure::Agreement => self.of_agreement(owner),
        };
        if !matches!(owner, Owner::Candidate(_)) {
            // Only the quality and the cost of a random route are used.
            cell = MeasuredCell { halves: None, label_free: None, output: None, ..cell };
        }
        if self.run.options.halves.is_none() {
            cell.halves = None;
        }
        let halves = cell.halves.unwrap_or_default();
        let checks = [
            ("quality", cell.quality),
            ("the first half", halves[0]),
            ("the second half", halves[1]),
            ("label-free quality", cell.label_free.unwrap_or_default()),
        ];
        match checks.into_iter().find(|(_, found)| !found.is_finite()) {
            Some((column, found)) => Err(OracleError::Quality { id: self.item.id, candidate, column, found }),
            None => Ok(MeasuredCell { candidate, ..cell }),
        }
    }

    /// Quality of the generated outputs.
    fn of_output(&self, owner: Owner, quality: &QualityFn<'_>) -> MeasuredCell {
        let item = self.item;
        let score = |Output { text, tokens }: &Output, reference: &str, reference_tokens: &[u32]| {
            quality(&ScoringInput { item, text, tokens, reference, reference_tokens })
        };
        let by_reference = |result: &LaneResult| score(&result.output, &item.reference, &item.reference_tokens);
        let greedy = self.result(owner, Task::Greedy).cloned().unwrap_or_default();
        let half = |half| self.result(owner, Task::Sampled(half)).map(by_reference);
        let label_free = self.full.filter(|_| self.run.options.label_free && matches!(owner, Owner::Candidate(_)));
        MeasuredCell {
            halves: half(0).zip(half(1)).map(Into::into),
            label_free: label_free.map(|full| score(&greedy.output, &full.text, &full.tokens)),
            quality: by_reference(&greedy),
            cost: greedy.cost,
            output: Some(greedy.output),
            candidate: String::new(),
        }
    }

    /// Mean log-probability of the reference.
    fn of_likelihood(&self, owner: Owner) -> MeasuredCell {
        let value = |(log_probability, _): &(f64, bool)| *log_probability;
        let label_free = self.result(owner, Task::FullOutput).map(|result| means(&result.scored, value).0);
        MeasuredCell { label_free, ..self.of_tokens(owner, Task::Reference, value) }
    }

    /// Share of the full model's tokens that the owner, too, predicts as the likeliest ones.
    fn of_agreement(&self, owner: Owner) -> MeasuredCell {
        self.of_tokens(owner, Task::FullOutput, |(_, likeliest)| f64::from(u8::from(*likeliest)))
    }

    /// Mean of `value` over the scored tokens.
    fn of_tokens(&self, owner: Owner, task: Task, value: impl Fn(&(f64, bool)) -> f64) -> MeasuredCell {
        let LaneResult { scored, cost, .. } = self.result(owner, task).cloned().unwrap_or_default();
        let (quality, halves) = means(&scored, value);
        MeasuredCell { candidate: String::new(), quality, cost, halves, label_free: None, output: None }
    }

    fn result(&self, owner: Owner, task: Task) -> Option<&LaneResult> {
        self.results.get(&Lane { owner, task })
    }
}

/// The mean over tokens, and the means over odd and even positions, counted from 1. A single token has no halves: as
/// both, it would hand the luck of the choice to the cross-fitted oracle.
fn means<T>(tokens: &[T], value: impl Fn(&T) -> f64) -> (f64, Option<[f64; 2]>) {
    let mean = |from: usize, step: usize| {
        let chosen = || tokens.iter().skip(from).step_by(step);
        chosen().map(&value).sum::<f64>() / as_f64(chosen().count())
    };
    (mean(0, 1), (tokens.len() >= 2).then(|| [mean(0, 2), mean(1, 2)]))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small whole numbers")]
mod tests {
    use super::*;

    #[test]
    fn halves_are_every_other_token() {
        assert_eq!(means(&[1.0, 2.0, 5.0], |x| *x), (8.0 / 3.0, Some([3.0, 2.0])));
        assert_eq!(means(&[4.0], |x| *x), (4.0, None));
    }
}
