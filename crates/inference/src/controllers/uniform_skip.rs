//! A budget of layers, evenly spread.

use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use serde::{Deserialize, Serialize};

/// Runs `budget` layers, evenly spread from the first to the last: uniform skipping of arXiv 2410.20022.
///
/// Of `n` layers it keeps layers `floor(j (n-1)/(k-1) + 1/2)` for `j = 0, 1, .., k-1`, where `k` is the budget. A
/// budget of 1 keeps layer 0, and a budget of 0 keeps no layer.
///
/// ```
/// # use dynlayer_inference::controllers::UniformSkip;
/// assert_eq!(UniformSkip::new(3).kept(9), [0, 4, 8]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniformSkip {
    budget: usize,
    /// The number of layers of the model for which `kept` was computed; 0 before that.
    #[serde(skip)]
    n_layers: usize,
    #[serde(skip)]
    kept: Vec<usize>,
}

impl UniformSkip {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "uniform:LAYERS",
        about: "LAYERS layers, evenly spread from the first to the last",
        fields: Fields::Values(&["budget"], &[]),
    };

    /// Returns a controller that runs `budget` layers per token.
    pub fn new(budget: usize) -> Self {
        Self { budget, n_layers: 0, kept: Vec::new() }
    }

    /// The number of layers that run.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// The layers that run, of `n_layers`, ascending; all of them if the budget is larger.
    pub fn kept(&self, n_layers: usize) -> Vec<usize> {
        match self.budget.min(n_layers) {
            1 => vec![0],
            // floor(a / b + 1/2) = floor((2a + b) / (2b)), in whole numbers.
            k => (0..k).map(|j| (2 * j * (n_layers - 1) + k - 1) / (2 * (k - 1))).collect(),
        }
    }

    fn prepare(&mut self, n_layers: usize) {
        if self.n_layers != n_layers {
            (self.n_layers, self.kept) = (n_layers, self.kept(n_layers));
        }
    }
}

impl Controller for UniformSkip {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        // Repeats the work of `on`, in case a wrapping controller does not forward events.
        self.prepare(site.n_layers());
        let kept = self.kept.binary_search(&site.layer()).is_ok();
        Ok(if kept { Action::Run } else { Action::Skip }.into())
    }

    /// # Errors
    /// If the budget is more than the model's number of layers.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        setup.check_budget(self.budget, 0)?;
        self.prepare(setup.n_layers());
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twenty_of_thirty_as_the_formula_says() {
        let kept = UniformSkip::new(20).kept(30);
        assert_eq!(kept, [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29]);
    }

    proptest! {
        #[test]
        fn keeps_the_budget_and_the_ends((n, k) in (1usize..200).prop_flat_map(|n| (Just(n), 0..=n))) {
            let kept = UniformSkip::new(k).kept(n);
            prop_assert_eq!(kept.len(), k);
            prop_assert!(kept.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(kept.iter().all(|layer| *layer < n));
            if k > 1 {
                prop_assert_eq!((kept[0], kept[k - 1]), (0, n - 1));
            }
            for (j, layer) in kept.iter().enumerate().filter(|_| k > 1) {
                let exact = (j * (n - 1)) as f64 / (k - 1) as f64;
                prop_assert_eq!(*layer, (exact + 0.5 + 1e-9).floor() as usize);
            }
        }
    }
}
