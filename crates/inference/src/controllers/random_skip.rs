//! Random layers within a budget, drawn per sequence.

use super::Ends;
use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use crate::random;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Runs a random set of `budget` layers, drawn once per sequence.
///
/// This is the random skipping of arXiv 2410.20022, and one of the oracle's baselines. All sets of this size are
/// equally probable; with [`Ends::Kept`], the default, only sets that include the first and the last layer are drawn.
/// The draw depends only on the sequence's seed and stream, and a later turn keeps it. With equal seeds and streams, the
/// layers of a smaller budget are among those of a larger one.
///
/// ```
/// use dynlayer_inference::controllers::{Ends, RandomSkip};
///
/// let route = RandomSkip::new(4).route(6, 7, 0); // of 6 layers; seed 7, stream 0
/// assert_eq!(route.iter().filter(|runs| **runs).count(), 4);
/// assert!(route[0] && route[5]);
///
/// let free = RandomSkip::new(4).ends(Ends::Free); // any 4 layers
/// assert_eq!(free.budget(), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomSkip {
    budget: usize,
    #[serde(default)]
    ends: Ends,
    /// The route of each sequence: for each layer, true if it runs.
    #[serde(skip)]
    routes: HashMap<u64, Vec<bool>>,
}

impl RandomSkip {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "random:LAYERS[,ends=free]",
        about: "LAYERS layers, drawn once per sequence",
        fields: Fields::Values(&["budget"], &[("ends", "ends")]),
    };

    /// Returns a controller that runs `budget` layers, including the first and the last.
    pub fn new(budget: usize) -> Self {
        Self { budget, ends: Ends::default(), routes: HashMap::new() }
    }

    /// The number of layers that run.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Sets whether the first and the last layer always run.
    pub fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// The route through `n_layers` layers of a sequence with this seed and stream: for each layer, true if it runs.
    pub fn route(&self, n_layers: usize, seed: u64, stream: u64) -> Vec<bool> {
        let mut runs: Vec<bool> = (0..n_layers).map(|layer| self.ends.keeps(layer, n_layers)).collect();
        let mut others: Vec<usize> = (0..n_layers).filter(|layer| !runs[*layer]).collect();
        let wanted = self.budget.saturating_sub(n_layers - others.len()).min(others.len());
        let mut rng = random::at(random::RANDOM_SKIP, seed, [stream, 0, 0]);
        // The first `wanted` steps of a Fisher-Yates shuffle.
        for i in 0..wanted {
            let drawn = rng.random_range(i..others.len());
            others.swap(i, drawn);
            runs[others[i]] = true;
        }
        runs
    }
}

impl Controller for RandomSkip {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        for row in site.rows() {
            if !self.routes.contains_key(&row.id) {
                self.routes.insert(row.id, self.route(site.n_layers(), row.seed, row.stream));
            }
        }
        let action = |runs| if runs { Action::Run } else { Action::Skip };
        Ok(Decision::per_row(site.rows().iter().map(|row| action(self.routes[&row.id][site.layer()]))))
    }

    /// # Errors
    /// If the budget is more than the model's number of layers, or less than the number of layers that always run.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(setup) => {
                self.routes.clear();
                setup.check_budget(self.budget, self.ends.count(setup.n_layers()))?;
            }
            Event::Begin(sequence) => drop(self.routes.remove(&sequence.id)),
            Event::End { id } => drop(self.routes.remove(id)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_budget_is_exact(n in 2usize..40, k in 0usize..40, seed: u64, sequence: u64, free: bool) {
            let ends = if free { Ends::Free } else { Ends::Kept };
            let k = k.clamp(ends.count(n), n);
            let route = RandomSkip::new(k).ends(ends).route(n, seed, sequence);
            prop_assert_eq!(route.len(), n);
            prop_assert_eq!(route.iter().filter(|runs| **runs).count(), k);
            prop_assert!(free || (route[0] && route[n - 1]));
        }
    }

    #[test]
    fn every_set_is_equally_probable() {
        let mut counts: HashMap<Vec<bool>, u32> = HashMap::new();
        let draws = 6000;
        for sequence in 0..draws {
            *counts.entry(RandomSkip::new(4).route(6, 3, sequence)).or_default() += 1;
        }
        assert_eq!(counts.len(), 6, "2 of the 4 in the middle");
        let expected = draws as f64 / 6.0;
        for count in counts.values() {
            // Five standard deviations of a binomial count.
            assert!((f64::from(*count) - expected).abs() < 5.0 * (expected * 5.0 / 6.0).sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn seeds_and_sequences_differ() {
        let route = |seed, sequence| RandomSkip::new(15).route(30, seed, sequence);
        assert_ne!(route(0, 0), route(0, 1));
        assert_ne!(route(0, 0), route(1, 0));
        let larger = RandomSkip::new(20).route(30, 0, 0);
        assert!(route(0, 0).iter().zip(larger).all(|(runs, larger)| larger || !runs));
    }
}
