//! Exit where the probabilities of the two best tokens are far apart.

use super::super::spec::SpecForm;
use super::ExitRule;
use super::rule::Checks;
use crate::control::{Controller, ControllerError, Decision, Event, Site};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// Exits where the prediction is confident: the difference between the two largest probabilities that the head gives
/// for the state is at least the threshold. This is CALM's softmax response (Schuster et al. 2022, arXiv 2207.07061,
/// "Local confidence measures"), with one threshold for all positions.
///
/// A check costs a product with the head and a host read; set [`ExitRule::every`] to check fewer layers.
///
/// ```
/// use dynlayer_inference::controllers::{ConfidenceExit, ExitRule};
///
/// let controller = ConfidenceExit::new(ExitRule { min_layers: 10, every: 5, ..ExitRule::new(0.9) });
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfidenceExit {
    rule: ExitRule,
    #[serde(skip)]
    checks: Checks,
}

impl ConfidenceExit {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "confidence:GAP[,patience=CHECKS][,min=LAYERS][,every=LAYERS]",
        about: "all layers until the two best tokens differ by at least GAP in probability",
        fields: ExitRule::FIELDS,
    };

    /// Returns a controller that exits where this difference is at least the rule's threshold, which is from 0 (always
    /// exit) to 1.
    pub fn new(rule: ExitRule) -> Self {
        Self { rule, checks: Checks::default() }
    }
}

impl Controller for ConfidenceExit {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let due = self.checks.due(&self.rule, site);
        if due.is_empty() {
            return Ok(self.checks.decision(&self.rule, site));
        }
        let gaps = read_due(site, &due, gap(site.exit_logits_of(&due)))?;
        Ok(self.checks.count(&self.rule, site, &due, |row| gaps[row] >= self.rule.threshold))
    }

    /// # Errors
    /// If the rule does not fit the model, or the threshold is not from 0 to 1.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.checks.on(&self.rule, event)?;
        let Event::Start(_) = event else { return Ok(()) };
        let gap = self.rule.threshold;
        ControllerError::check(
            (0.0..=1.0).contains(&gap),
            "the threshold of a gap between probabilities",
            gap,
            "0 to 1",
        )
    }
}

/// Reads one number per row of the batch: the value of each row that is due, and 0 for the others.
pub(super) fn read_due(site: &Site<'_>, due: &[usize], values: Tensor<1>) -> Result<Vec<f32>, ControllerError> {
    let rows = site.rows().len();
    if due.len() == rows {
        return site.read(values);
    }
    // The index of each row's value, or of the 0 that follows the last value.
    let mut places = vec![i64::try_from(due.len()).unwrap_or(i64::MAX); rows];
    for (place, row) in (0..).zip(due) {
        places[*row] = place;
    }
    let device = values.device();
    let places = Tensor::<1, Int>::from_data(places.as_slice(), &device);
    site.read(Tensor::cat(vec![values, Tensor::zeros([1], &device)], 0).select(0, places))
}

/// Returns the difference between the two largest probabilities for each row of `logits: [rows, vocab_size]`, as
/// `[rows]`.
///
/// If `a >= b` are the two largest logits, it is `(1 - exp(b - a)) / sum exp(x - a)` with the sum over all logits `x`.
fn gap(logits: Tensor<2>) -> Tensor<1> {
    let [rows, vocab_size] = logits.dims();
    let device = logits.device();
    let (largest, at) = logits.clone().max_dim_with_indices(1); // [rows, 1] both
    let shifted = logits - largest; // the largest is 0
    let tokens = Tensor::<1, Int>::arange(0..i64::try_from(vocab_size).unwrap_or(i64::MAX), &device);
    let best = tokens.unsqueeze::<2>().expand([rows, vocab_size]).equal(at.expand([rows, vocab_size]));
    let second = shifted.clone().mask_fill(best, f32::NEG_INFINITY).max_dim(1); // [rows, 1]
    let total = shifted.exp().sum_dim(1);
    ((second.exp().neg() + 1.0) / total).squeeze_dim::<1>(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_gap_is_the_definition(logits in prop::collection::vec(-30.0f32..30.0, 2..40), tie: bool) {
            let mut logits = logits;
            if tie {
                let most = logits.iter().copied().fold(f32::MIN, f32::max);
                logits.push(most);
            }
            let n = logits.len();
            let rows = [logits.clone(), logits.iter().map(|x| x / 2.0).collect()].concat();
            let tensor = Tensor::<2>::from_data(TensorData::new(rows.clone(), [2, n]), &Device::flex());
            let found = gap(tensor).into_data().try_into_vec_as::<f32>().unwrap();
            for (found, logits) in found.iter().zip(rows.chunks(n)) {
                let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
                let mut p: Vec<f64> = logits.iter().map(|x| f64::from(*x).exp() / total).collect();
                p.sort_by(|a, b| b.total_cmp(a));
                prop_assert!((f64::from(*found) - (p[0] - p[1])).abs() < 1e-5, "{} {:?}", found, p);
            }
        }
    }
}
