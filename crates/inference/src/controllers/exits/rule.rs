//! The rule that turns a measure of confidence into an exit.

use super::super::spec::Fields;
use crate::control::{Action, ControllerError, Decision, Event, Setup, Site};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The rule of an early exit: the layers at which a measure is checked, and the number of checks that must pass.
///
/// Rows are checked before layers `min_layers`, `min_layers + every`, `min_layers + 2 every`, and so on. A row exits
/// once the controller's measure has reached the threshold at `patience` consecutive checks (Zhou et al. 2020, arXiv
/// 2006.04152, with the threshold in place of equal predictions). Each sequence has a separate count, which starts at
/// zero in every pass.
///
/// ```
/// use dynlayer_inference::controllers::ExitRule;
///
/// let rule = ExitRule { patience: 2, min_layers: 8, every: 4, ..ExitRule::new(0.9) };
/// assert!(rule.checks(8) && !rule.checks(9) && rule.checks(12) && !rule.checks(4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRule {
    /// The value that the measure must reach.
    pub threshold: f32,
    /// The number of consecutive checks that must pass; at least 1.
    #[serde(default = "one")]
    pub patience: usize,
    /// The number of layers that always run before the first check; at least 1, since an embedding alone predicts
    /// nothing.
    #[serde(default = "one")]
    pub min_layers: usize,
    /// The number of layers from one check to the next; at least 1.
    #[serde(default = "one")]
    pub every: usize,
}

fn one() -> usize {
    1
}

impl ExitRule {
    /// The places of the fields in the text of a specification.
    pub(super) const FIELDS: Fields =
        Fields::Values(&["threshold"], &[("patience", "patience"), ("min", "min_layers"), ("every", "every")]);

    /// A rule that checks before every layer but the first, and exits at the first check that passes.
    pub fn new(threshold: f32) -> Self {
        Self { threshold, patience: 1, min_layers: 1, every: 1 }
    }

    /// Returns true if rows are checked before this layer.
    pub fn checks(&self, layer: usize) -> bool {
        layer.checked_sub(self.min_layers).is_some_and(|after| after.checked_rem(self.every) == Some(0))
    }

    /// Checks the rule against a model.
    fn check(&self, setup: &Setup<'_>) -> Result<(), ControllerError> {
        let (n, min) = (setup.n_layers(), self.min_layers);
        ControllerError::check(self.threshold.is_finite(), "the threshold", self.threshold, "a finite number")?;
        ControllerError::check(self.patience > 0, "patience", self.patience, "at least 1")?;
        ControllerError::check(self.every > 0, "every", self.every, "at least 1")?;
        ControllerError::check((1..=n).contains(&min), "the least number of layers", min, format!("1 to {n}"))
    }
}

/// The number of consecutive checks that each sequence has passed in the current pass, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Checks(HashMap<u64, usize>);

impl Checks {
    /// Returns the indices of the rows to check at this layer; none if the rule does not check before this layer. A row
    /// for which the answer is already to exit is not checked again, even if a wrapping controller let it go on.
    pub(super) fn due(&self, rule: &ExitRule, site: &Site<'_>) -> Vec<usize> {
        if !rule.checks(site.layer()) {
            return Vec::new();
        }
        let rows = site.rows().iter().enumerate();
        rows.filter(|(_, row)| row.asked && !self.exits(rule, row.id)).map(|(index, _)| index).collect()
    }

    /// Counts the outcome `passes(index)` of each due row, and returns the decision for all rows.
    pub(super) fn count(
        &mut self,
        rule: &ExitRule,
        site: &Site<'_>,
        due: &[usize],
        passes: impl Fn(usize) -> bool,
    ) -> Decision {
        for index in due {
            let count = self.0.entry(site.rows()[*index].id).or_default();
            *count = if passes(*index) { *count + 1 } else { 0 };
        }
        self.decision(rule, site)
    }

    /// Returns the decision for all rows: exit for those that have passed enough checks, run for the others.
    pub(super) fn decision(&self, rule: &ExitRule, site: &Site<'_>) -> Decision {
        let rows = site.rows().iter();
        Decision::per_row(rows.map(|row| if self.exits(rule, row.id) { Action::Exit } else { Action::Run }))
    }

    /// Checks the rule when a run starts, and sets the counts of each pass's rows to zero.
    pub(super) fn on(&mut self, rule: &ExitRule, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(setup) => {
                self.0.clear();
                rule.check(setup)?;
            }
            Event::Pass(pass) => {
                for row in pass.rows() {
                    self.0.remove(&row.id);
                }
            }
            Event::End { id } => {
                self.0.remove(id);
            }
            _ => {}
        }
        Ok(())
    }

    fn exits(&self, rule: &ExitRule, sequence: u64) -> bool {
        self.0.get(&sequence).is_some_and(|passed| *passed >= rule.patience)
    }
}
