//! Checks in a row, per sequence.

use super::ExitRule;
use crate::control::{Action, Decision, Site};
use std::collections::HashMap;

/// How often in a row the measure has passed, for each sequence of the pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Streaks(HashMap<u64, Streak>);

#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    passed: usize,
    exited: bool,
}

impl Streaks {
    /// The rows to check here, by index; empty where the rule does not check, and without those that have exited.
    pub(super) fn due(&mut self, rule: &ExitRule, site: &Site<'_>) -> Vec<usize> {
        if site.layer() == 0 {
            self.0.clear();
        }
        if !rule.checks(site.layer()) {
            return Vec::new();
        }
        let rows = site.rows().iter().enumerate();
        rows.filter(|(_, row)| !self.exited(row.id)).map(|(index, _)| index).collect()
    }

    /// Counts the outcomes of the rows that were due, and answers for all.
    pub(super) fn decide(
        &mut self,
        rule: &ExitRule,
        site: &Site<'_>,
        due: &[usize],
        passes: impl Fn(usize) -> bool,
    ) -> Decision {
        for index in due {
            let streak = self.0.entry(site.rows()[*index].id).or_default();
            streak.passed = if passes(*index) { streak.passed + 1 } else { 0 };
            streak.exited = streak.passed >= rule.patience;
        }
        self.answer(site)
    }

    /// Exit for the rows that have exited, run for the others.
    pub(super) fn answer(&self, site: &Site<'_>) -> Decision {
        let rows = site.rows().iter();
        Decision::per_row(rows.map(|row| if self.exited(row.id) { Action::Exit } else { Action::Run }))
    }

    fn exited(&self, sequence: u64) -> bool {
        self.0.get(&sequence).is_some_and(|streak| streak.exited)
    }
}
