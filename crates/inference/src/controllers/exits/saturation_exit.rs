//! Exit where the state has stopped changing.

use super::super::spec::SpecForm;
use super::ExitRule;
use super::rule::Checks;
use crate::control::{Controller, ControllerError, Decision, Event, Row, Site};
use burn::tensor::Tensor;
use dynlayer_model::select_rows;
use serde::{Deserialize, Serialize};

/// Exits where the hidden state has saturated: the cosine of the states entering this layer and the previous one is at
/// least the threshold. This is CALM's hidden-state saturation (Schuster et al. 2022, arXiv 2207.07061, "Local
/// confidence measures"), with one threshold for all positions.
///
/// A check costs a host read, and no product with the head. A skipped layer leaves the state unchanged, so if a
/// wrapping controller skips layers, every check directly after a skip passes.
///
/// ```
/// use dynlayer_inference::controllers::{ExitRule, SaturationExit};
///
/// let controller = SaturationExit::new(ExitRule { min_layers: 5, ..ExitRule::new(0.99) });
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SaturationExit {
    rule: ExitRule,
    #[serde(skip)]
    checks: Checks,
    /// The ids of the rows at the previous layer of this pass, and their states there, `[rows, d_model]`.
    #[serde(skip)]
    previous: Option<(Vec<u64>, Tensor<2>)>,
}

/// Compares the rules; the state of a run does not count.
impl PartialEq for SaturationExit {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule
    }
}

impl SaturationExit {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "saturation:COSINE[,patience=CHECKS][,min=LAYERS][,every=LAYERS]",
        about: "all layers until the states before and after a layer have a cosine of at least COSINE",
        fields: ExitRule::FIELDS,
    };

    /// Returns a controller that exits where this cosine is at least the rule's threshold, from -1 (always exit) to 1.
    pub fn new(rule: ExitRule) -> Self {
        Self { rule, checks: Checks::default(), previous: None }
    }
}

impl Controller for SaturationExit {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let now = site.last_hidden();
        let ids = site.rows().iter().map(|row| row.id).collect();
        let before = self.previous.replace((ids, now.clone()));
        let due = self.checks.due(&self.rule, site);
        let before = before.filter(|_| !due.is_empty()).and_then(|(ids, states)| of_rows(site.rows(), &ids, states));
        let Some(before) = before else { return Ok(self.checks.decision(&self.rule, site)) };
        let cosines = site.read(cosine(now, before))?;
        Ok(self.checks.count(&self.rule, site, &due, |row| cosines[row] >= self.rule.threshold))
    }

    /// # Errors
    /// If the rule does not fit the model, or the threshold is not from -1 to 1.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.checks.on(&self.rule, event)?;
        if let Event::Start(_) | Event::Pass(_) = event {
            self.previous = None;
        }
        let Event::Start(_) = event else { return Ok(()) };
        let cosine = self.rule.threshold;
        ControllerError::check((-1.0..=1.0).contains(&cosine), "the threshold of a cosine", cosine, "-1 to 1")
    }
}

/// Returns the states of these rows, out of `states: [ids, d_model]`; `None` if one is missing.
///
/// The rows may be fewer than at the previous layer, since a controller that holds this one leaves out exited rows.
fn of_rows(rows: &[Row], ids: &[u64], states: Tensor<2>) -> Option<Tensor<2>> {
    if rows.iter().map(|row| row.id).eq(ids.iter().copied()) {
        return Some(states);
    }
    let places: Option<Vec<usize>> = rows.iter().map(|row| ids.iter().position(|id| *id == row.id)).collect();
    Some(select_rows(states, &places?))
}

/// Returns the cosine of each row of `a` and the same row of `b`, as `[rows]`; 1, and not NaN, if a row is all zero.
fn cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let dot = (a.clone() * b.clone()).sum_dim(1);
    let norms = (a.square().sum_dim(1) * b.square().sum_dim(1)).sqrt(); // [rows, 1]
    let nothing = norms.clone().equal_elem(0.0);
    (dot / norms).mask_fill(nothing, 1.0).squeeze_dim::<1>(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn cosines_by_hand() {
        let device = Device::flex();
        let a = Tensor::<2>::from_floats([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], &device);
        let b = Tensor::<2>::from_floats([[6.0, 8.0], [0.0, 5.0], [0.0, 0.0], [-1.0, 0.0]], &device);
        assert_eq!(cosine(a, b).into_data().try_into_vec_as::<f32>().unwrap(), [1.0, 0.0, 1.0, -1.0]);
    }
}
