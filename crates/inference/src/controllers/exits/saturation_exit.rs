//! Exit where the state has stopped changing.

use super::super::spec::SpecForm;
use super::ExitRule;
use super::rule::Checks;
use crate::control::{Batch, Controller, ControllerError, Decision, Site};
use burn::tensor::Tensor;
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
    /// The states that entered the previous layer, `[rows, d_model]`.
    #[serde(skip)]
    previous: Option<Tensor<2>>,
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
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let now = site.last_hidden();
        let before = self.previous.replace(now.clone()).filter(|_| site.layer() > 0);
        let due = self.checks.due(&self.rule, site);
        let Some(before) = before.filter(|_| !due.is_empty()) else { return self.checks.decision(site) };
        let cosines = site.read(cosine(now, before));
        self.checks.count(&self.rule, site, &due, |row| cosines[row] >= self.rule.threshold)
    }

    /// # Errors
    /// If the rule does not fit the model, or the threshold is not from -1 to 1.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.previous = None;
        self.rule.check(batch)?;
        let cosine = self.rule.threshold;
        ControllerError::check((-1.0..=1.0).contains(&cosine), "the threshold of a cosine", cosine, "-1 to 1")
    }
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
