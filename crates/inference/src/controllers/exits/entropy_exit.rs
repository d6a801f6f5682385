//! Exit where the prediction has little entropy.

use super::super::spec::SpecForm;
use super::ExitRule;
use super::confidence_exit::read_due;
use super::rule::Checks;
use crate::control::{Controller, ControllerError, Decision, Event, Site};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

/// Exits where the entropy of the prediction, `-sum p ln p` in nats over the vocabulary, is at most the threshold:
/// `DeeBERT`'s criterion (Xin et al. 2020, arXiv 2004.12993).
///
/// A check costs a product with the head and a host read; set [`ExitRule::every`] to check fewer layers.
///
/// ```
/// use dynlayer_inference::controllers::{EntropyExit, ExitRule};
///
/// let controller = EntropyExit::new(ExitRule { patience: 2, ..ExitRule::new(0.5) });
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntropyExit {
    rule: ExitRule,
    #[serde(skip)]
    checks: Checks,
}

impl EntropyExit {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "entropy:NATS[,patience=CHECKS][,min=LAYERS][,every=LAYERS]",
        about: "all layers until the prediction's entropy is at most NATS",
        fields: ExitRule::FIELDS,
    };

    /// Returns a controller that exits where the entropy is at most the rule's threshold, in nats.
    pub fn new(rule: ExitRule) -> Self {
        Self { rule, checks: Checks::default() }
    }
}

impl Controller for EntropyExit {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let due = self.checks.due(&self.rule, site);
        if due.is_empty() {
            return Ok(self.checks.decision(&self.rule, site));
        }
        let entropies = read_due(site, &due, entropy(site.exit_logits_of(&due)))?;
        Ok(self.checks.count(&self.rule, site, &due, |row| entropies[row] <= self.rule.threshold))
    }

    /// # Errors
    /// If the rule does not fit the model, or the threshold is negative.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.checks.on(&self.rule, event)?;
        let Event::Start(_) = event else { return Ok(()) };
        let nats = self.rule.threshold;
        ControllerError::check(nats >= 0.0, "the threshold of an entropy", nats, "at least 0")
    }
}

/// Returns the entropy in nats, `-sum p ln p`, for each row of `logits: [rows, vocab_size]`, as `[rows]`.
fn entropy(logits: Tensor<2>) -> Tensor<1> {
    let log_p = log_softmax(logits, 1);
    (log_p.clone().exp() * log_p).sum_dim(1).neg().squeeze_dim::<1>(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_entropy_is_the_definition(logits in prop::collection::vec(-200.0f32..200.0, 1..40)) {
            let n = logits.len();
            let tensor = Tensor::<2>::from_data(TensorData::new(logits.clone(), [1, n]), &Device::flex());
            let found = entropy(tensor).into_data().try_into_vec_as::<f32>().unwrap()[0];
            let most = logits.iter().copied().fold(f32::MIN, f32::max);
            let weights: Vec<f64> = logits.iter().map(|x| f64::from(x - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let expected: f64 = weights.iter().map(|w| w / total).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
            prop_assert!((f64::from(found) - expected).abs() < 1e-4, "{} {}", found, expected);
        }
    }
}
