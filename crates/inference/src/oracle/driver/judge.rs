//! From what the lanes did to qualities and costs.

use super::lane::{Done, Lane, Of, Task};
use super::measured::{MeasuredCell, Output};
use super::{Candidate, DriveError, DriveOptions, Item, Judged, Measure, OutputMeasure};
use crate::oracle::numbers::count;

/// One item's lanes, all done.
pub(super) struct Judge<'a> {
    pub(super) candidates: &'a [Candidate<'a>],
    pub(super) measure: &'a Measure<'a>,
    pub(super) options: &'a DriveOptions<'a>,
    pub(super) item: &'a Item,
    pub(super) lanes: &'a [Lane],
    /// The full model's own output, where it was wanted.
    pub(super) full: Option<&'a Output>,
}

impl Judge<'_> {
    /// A cell per candidate.
    pub(super) fn of_candidates(&self) -> Result<Vec<MeasuredCell>, DriveError> {
        let candidates = self.candidates.iter().enumerate();
        candidates.map(|(index, candidate)| self.cell(Of::Candidate(index), candidate.name().to_owned())).collect()
    }

    /// A cell per random route.
    pub(super) fn of_routes(&self) -> Result<Vec<MeasuredCell>, DriveError> {
        let numbers = 0..self.candidates.len();
        let depths = self.options.null_depths.iter().copied();
        let routes = depths.flat_map(|depth| numbers.clone().map(move |number| (depth, number)));
        routes
            .map(|(depth, number)| self.cell(Of::Route { depth, number }, format!("random:{depth}#{number}")))
            .collect()
    }

    fn cell(&self, of: Of, candidate: String) -> Result<MeasuredCell, DriveError> {
        let mut cell = match self.measure {
            Measure::Output(measure) => self.of_output(of, measure),
            Measure::Likelihood => self.of_likelihood(of),
            Measure::Agreement => self.of_agreement(of),
        };
        if !matches!(of, Of::Candidate(_)) {
            // A route needs no more than its quality.
            cell = MeasuredCell { halves: None, label_free: None, output: None, ..cell };
        }
        if self.options.halves.is_none() {
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
            Some((column, found)) => Err(DriveError::Quality { id: self.item.id, candidate, column, found }),
            None => Ok(MeasuredCell { candidate, ..cell }),
        }
    }

    fn of_output(&self, of: Of, measure: &OutputMeasure<'_>) -> MeasuredCell {
        let item = self.item;
        let judge = |output: &Output, reference: &str, reference_tokens: &[u32]| {
            let Output { text, tokens } = output;
            measure.quality(&Judged { item, text, tokens, reference, reference_tokens })
        };
        let by_reference = |done: &Done| judge(&done.output, &item.reference, &item.reference_tokens);
        let greedy = self.done(of, Task::Greedy).cloned().unwrap_or_default();
        let half = |half| self.done(of, Task::Sampled(half)).map(by_reference);
        let label_free = self.full.filter(|_| self.options.label_free && matches!(of, Of::Candidate(_)));
        MeasuredCell {
            halves: half(0).zip(half(1)).map(Into::into),
            label_free: label_free.map(|full| judge(&greedy.output, &full.text, &full.tokens)),
            quality: by_reference(&greedy),
            cost: greedy.cost,
            output: Some(greedy.output),
            candidate: String::new(),
        }
    }

    fn of_likelihood(&self, of: Of) -> MeasuredCell {
        let value = |(log_probability, _): &(f64, bool)| *log_probability;
        let label_free = self.done(of, Task::FullOutput).map(|done| means(&done.scored, value).0);
        MeasuredCell { label_free, ..self.of_tokens(of, Task::Reference, value) }
    }

    fn of_agreement(&self, of: Of) -> MeasuredCell {
        self.of_tokens(of, Task::FullOutput, |(_, likeliest)| f64::from(u8::from(*likeliest)))
    }

    fn of_tokens(&self, of: Of, task: Task, value: impl Fn(&(f64, bool)) -> f64) -> MeasuredCell {
        let done = self.done(of, task).cloned().unwrap_or_default();
        let (quality, halves) = means(&done.scored, value);
        let halves = Some(halves);
        MeasuredCell { candidate: String::new(), quality, cost: done.cost, halves, label_free: None, output: None }
    }

    fn done(&self, of: Of, task: Task) -> Option<&Done> {
        let lane = self.lanes.iter().find(|lane| (lane.of, lane.task) == (of, task));
        lane.and_then(|lane| lane.done.as_ref())
    }
}

/// The mean over tokens, and the means over those in odd and in even places, counted from 1. A single token counts as
/// both halves.
fn means<T>(tokens: &[T], value: impl Fn(&T) -> f64) -> (f64, [f64; 2]) {
    let mean = |from: usize, step: usize| {
        let chosen = || tokens.iter().skip(from).step_by(step);
        chosen().map(&value).sum::<f64>() / count(chosen().count())
    };
    let all = mean(0, 1);
    (all, if tokens.len() < 2 { [all; 2] } else { [mean(0, 2), mean(1, 2)] })
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small whole numbers")]
mod tests {
    use super::*;

    #[test]
    fn halves_are_every_other_token() {
        assert_eq!(means(&[1.0, 2.0, 5.0], |x| *x), (8.0 / 3.0, [3.0, 2.0]));
        assert_eq!(means(&[4.0], |x| *x), (4.0, [4.0; 2]));
    }
}
