//! Batches whose rows have different controllers.

use super::{Action, Batch, Controller, ControllerError, Decision, Site};
use std::collections::{BTreeMap, HashSet};

/// The controller of a row, and the id under which that controller knows the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// An index into the controllers.
    pub(crate) controller: usize,
    pub(crate) id: u64,
}

/// Asks several controllers, each about its own rows as if they were the whole batch, and merges their answers.
///
/// A controller is not asked again about a row that has exited in the same pass, just as the engine would not ask again
/// if the row were alone.
///
/// In all methods, the function `assigned` maps a sequence's id to its assignment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dispatcher {
    exited: HashSet<u64>,
}

impl Dispatcher {
    /// Calls `begin` of every controller that has sequences, with those sequences.
    pub(crate) fn begin<C: Controller>(
        &mut self,
        batch: &Batch<'_>,
        controllers: &mut [C],
        assigned: impl Fn(u64) -> Option<Assignment>,
    ) -> Result<(), ControllerError> {
        self.exited.clear();
        let mut groups: BTreeMap<usize, (Vec<u64>, Vec<Vec<u32>>)> = BTreeMap::new();
        for (sequence, prompt) in batch.ids().iter().zip(batch.prompts()) {
            let Assignment { controller, id } = assigned(*sequence).ok_or_else(|| unassigned(*sequence))?;
            let (ids, prompts) = groups.entry(controller).or_default();
            ids.push(id);
            prompts.push(prompt.clone());
        }
        for (controller, (ids, prompts)) in &groups {
            let Some(controller) = controllers.get_mut(*controller) else { continue };
            controller.begin(&batch.part(ids, prompts))?;
        }
        Ok(())
    }

    /// Calls `observe` of every controller with its own rows.
    pub(crate) fn observe<C: Controller>(
        &mut self,
        site: &Site<'_>,
        controllers: &mut [C],
        assigned: impl Fn(u64) -> Option<Assignment>,
    ) {
        self.exited.clear();
        for (controller, (rows, ids)) in self.groups(site, assigned) {
            let Some(controller) = controllers.get_mut(controller) else { continue };
            site.part(&rows, &ids, |site| controller.observe(site));
        }
    }

    /// Asks every controller about its own rows, and merges their decisions. A row without a controller ends the run.
    pub(crate) fn decide<C: Controller>(
        &mut self,
        site: &Site<'_>,
        controllers: &mut [C],
        assigned: impl Fn(u64) -> Option<Assignment>,
    ) -> Decision {
        if site.layer() == 0 {
            self.exited.clear();
        }
        let mut actions = vec![Action::Skip; site.rows().len()];
        for (controller, (rows, ids)) in self.groups(site, assigned) {
            let Some(controller) = controllers.get_mut(controller) else { continue };
            let answers = site.part(&rows, &ids, |site| answers(site, controller));
            for (row, action) in rows.into_iter().zip(answers) {
                actions[row] = action;
                if action == Action::Exit {
                    self.exited.insert(site.rows()[row].id);
                }
            }
        }
        match actions.first() {
            // One action for all rows takes the engine's short path.
            Some(first) if self.exited.is_empty() && actions.iter().all(|action| action == first) => (*first).into(),
            _ => Decision::PerRow(actions),
        }
    }

    /// The indices and ids of the rows that have not exited, by controller.
    fn groups(
        &self,
        site: &Site<'_>,
        assigned: impl Fn(u64) -> Option<Assignment>,
    ) -> BTreeMap<usize, (Vec<usize>, Vec<u64>)> {
        let mut groups: BTreeMap<usize, (Vec<usize>, Vec<u64>)> = BTreeMap::new();
        for (index, row) in site.rows().iter().enumerate().filter(|(_, row)| !self.exited.contains(&row.id)) {
            let Some(Assignment { controller, id }) = assigned(row.id) else {
                site.fail(unassigned(row.id));
                continue;
            };
            let (rows, ids) = groups.entry(controller).or_default();
            rows.push(index);
            ids.push(id);
        }
        groups
    }
}

/// Makes the error for a sequence without a controller.
fn unassigned(sequence: u64) -> ControllerError {
    let expected = "a sequence that has a controller".to_owned();
    ControllerError::Setting { setting: "the sequence", found: sequence.to_string(), expected }
}

/// Asks a controller, and returns its decision as one action per row. A gate, or a wrong number of actions, ends the
/// run with an error that is logged at the site.
fn answers<C: Controller + ?Sized>(site: &Site<'_>, controller: &mut C) -> Vec<Action> {
    let rows = site.rows().len();
    match controller.decide(site) {
        Decision::All(action) => vec![action; rows],
        Decision::PerRow(actions) => {
            if actions.len() != rows {
                site.breach(format!("one action per row, {rows}"), actions.len().to_string());
            }
            actions
        }
        Decision::Gate(_) => {
            let expected = "actions, because other rows of the batch have other controllers".to_owned();
            site.fail(ControllerError::Setting { setting: "the decision", found: "a gate".to_owned(), expected });
            vec![Action::Run; rows]
        }
    }
}
