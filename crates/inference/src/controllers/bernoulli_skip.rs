//! Random skipping of layers, drawn per token.

use super::Ends;
use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Row, Site};
use crate::random;
use serde::{Deserialize, Serialize};

/// Runs each layer of each token with probability `p`, independently: stochastic depth (Huang et al. 2016,
/// arXiv 1603.09382, section 3) with the same survival probability for all layers, and no rescaling. With
/// [`Ends::Kept`], the default, the first and the last layer always run.
///
/// A draw depends on the sequence's seed and stream, the position of the row's last token in the pass, and the layer.
///
/// ```
/// use dynlayer_inference::controllers::{BernoulliSkip, Ends};
///
/// let controller = BernoulliSkip::new(0.8).ends(Ends::Free);
/// # let _: Box<dyn dynlayer_inference::Controller> = Box::new(controller);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BernoulliSkip {
    probability: f32,
    #[serde(default)]
    ends: Ends,
}

impl BernoulliSkip {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "bernoulli:PROBABILITY[,ends=free]",
        about: "each layer with this probability, drawn per token",
        fields: Fields::Values(&["probability"], &[("ends", "ends")]),
    };

    /// Returns a controller that runs each layer with this probability, and always runs the first and the last.
    pub fn new(probability: f32) -> Self {
        Self { probability, ends: Ends::default() }
    }

    /// Sets whether the first and the last layer always run.
    pub fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    fn runs(&self, row: &Row, layer: usize) -> bool {
        row.draw(&random::BERNOULLI, layer) < f64::from(self.probability)
    }
}

impl Controller for BernoulliSkip {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let layer = site.layer();
        if self.ends.keeps(layer, site.n_layers()) {
            return Ok(Action::Run.into());
        }
        let action = |row: &Row| if self.runs(row, layer) { Action::Run } else { Action::Skip };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    /// # Errors
    /// If the probability is not from 0 to 1.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(_) = event else { return Ok(()) };
        let p = self.probability;
        ControllerError::check((0.0..=1.0).contains(&p), "the probability that a layer runs", p, "0 to 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_run_as_often_as_they_should() {
        for p in [0.0, 0.25, 0.8, 1.0] {
            let controller = BernoulliSkip::new(p);
            let draws = 20_000;
            let row = |position| Row { position, ..Row::text(3, 1) };
            let ran = (0..draws).filter(|i| controller.runs(&row(i / 10), i % 10)).count();
            let (ran, draws, p) = (ran as f64, draws as f64, f64::from(p));
            // Five standard deviations of a binomial count, which are 0 at the probabilities 0 and 1.
            assert!((ran - draws * p).abs() <= 5.0 * (draws * p * (1.0 - p)).sqrt() + 1e-3, "{ran} of {draws} at {p}");
        }
    }
}
