//! Views of a site that hold some of its rows, for controllers that hold others.

use super::{Action, ControllerError, Decision, Row, Site, SiteLog};
use burn::tensor::Tensor;
use dynlayer_model::select_rows;
use std::collections::BTreeMap;

impl Site<'_> {
    /// Calls `f` with a site that holds only the rows of the given indices, in ascending order. The report counts what
    /// `f` reads and computes.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn part<R>(&self, rows: &[usize], f: impl FnOnce(&Site<'_>) -> R) -> R {
        if rows.iter().copied().eq(0..self.rows.len()) {
            return f(self);
        }
        let chosen: Vec<Row> = rows.iter().map(|row| self.rows[*row].clone()).collect();
        let (hidden, embedded) = (pick(self.hidden, rows), pick(self.embedded, rows));
        let log = SiteLog::default();
        let result = f(&Site { rows: &chosen, hidden: &hidden, embedded: &embedded, log: &log, ..*self });
        self.log.host_reads.set(self.log.host_reads.get() + log.host_reads.get());
        let heads = log.heads.into_inner().into_iter();
        let whole = |(part, logits): (Vec<usize>, _)| (part.into_iter().map(|row| rows[row]).collect(), logits);
        self.log.heads.borrow_mut().extend(heads.map(whole));
        result
    }

    /// Divides the rows into groups of equal `key`, asks `decide` about each group as if it were the whole batch, and
    /// merges the answers into one decision. A group of which no answer counts is not asked.
    ///
    /// # Errors
    /// The first error of `key` and `decide`, and [`ControllerError::Contract`] if one of several groups answers with
    /// a gate, or if an answer does not have one action per row of its group.
    pub fn decide_by<K: Ord>(
        &self,
        key: impl Fn(&Row) -> Result<K, ControllerError>,
        mut decide: impl FnMut(K, &Site<'_>) -> Result<Decision, ControllerError>,
    ) -> Result<Decision, ControllerError> {
        let mut actions = vec![Action::Skip; self.rows.len()];
        for (key, rows) in self.groups(key)? {
            if !rows.iter().any(|row| self.rows[*row].asked) {
                continue;
            }
            let answer = self.part(&rows, |part| match decide(key, part)? {
                gate @ Decision::Gate(_) if rows.len() == self.rows.len() => Ok(Err(gate)),
                Decision::Gate(_) => Err(self.breach("actions, because other rows have other controllers", &"a gate")),
                Decision::All(action) => Ok(Ok(vec![action; rows.len()])),
                Decision::PerRow(actions) => part.per_row(actions).map(Ok),
            })?;
            match answer {
                Ok(answers) => rows.into_iter().zip(answers).for_each(|(row, action)| actions[row] = action),
                Err(gate) => return Ok(gate),
            }
        }
        let mut counted = self.rows.iter().zip(&actions).filter(|(row, _)| row.asked).map(|(_, action)| *action);
        let first = counted.next().unwrap_or(Action::Skip);
        // One action for all rows takes the engine's short path.
        Ok(if counted.all(|action| action == first) { first.into() } else { Decision::PerRow(actions) })
    }

    /// Divides the rows into groups of equal `key`, and calls `observe` with each group.
    ///
    /// # Errors
    /// The first error of `key` and `observe`.
    pub fn observe_by<K: Ord>(
        &self,
        key: impl Fn(&Row) -> Result<K, ControllerError>,
        mut observe: impl FnMut(K, &Site<'_>) -> Result<(), ControllerError>,
    ) -> Result<(), ControllerError> {
        let groups = self.groups(key)?;
        groups.into_iter().try_for_each(|(key, rows)| self.part(&rows, |part| observe(key, part)))
    }

    fn groups<K: Ord>(
        &self,
        key: impl Fn(&Row) -> Result<K, ControllerError>,
    ) -> Result<BTreeMap<K, Vec<usize>>, ControllerError> {
        let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for (index, row) in self.rows.iter().enumerate() {
            groups.entry(key(row)?).or_default().push(index);
        }
        Ok(groups)
    }
}

/// Returns the given rows of `x: [rows, tokens, d_model]`, without a copy if they are consecutive.
fn pick(x: &Tensor<3>, rows: &[usize]) -> Tensor<3> {
    let first = rows.first().copied().unwrap_or(0);
    if rows.iter().copied().eq(first..first + rows.len()) {
        return x.clone().narrow(0, first, rows.len());
    }
    select_rows(x.clone(), rows)
}
