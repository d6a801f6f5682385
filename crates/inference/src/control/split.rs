//! Rows of one batch that answer to different controllers.

use super::{Action, Batch, Controller, ControllerError, Decision, Site};
use std::collections::{BTreeMap, HashSet};

/// Which controller answers for a row, and by what id it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) controller: usize,
    pub(crate) id: u64,
}

/// Asks several controllers, each about its own rows as if they were the batch, and puts the answers together.
///
/// A row that has exited is not asked about again in the same pass, as it would not be alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Split {
    exited: HashSet<u64>,
}

impl Split {
    /// Lets each controller begin with its own sequences; one without any does not begin.
    pub(crate) fn begin<C: Controller>(
        &mut self,
        batch: &Batch<'_>,
        controllers: &mut [C],
        of: impl Fn(u64) -> Option<Share>,
    ) -> Result<(), ControllerError> {
        self.exited.clear();
        let mut shares: BTreeMap<usize, (Vec<u64>, Vec<Vec<u32>>)> = BTreeMap::new();
        for (sequence, prompt) in batch.ids().iter().zip(batch.prompts()) {
            let Share { controller, id } = of(*sequence).ok_or_else(|| unknown(*sequence))?;
            let (ids, prompts) = shares.entry(controller).or_default();
            ids.push(id);
            prompts.push(prompt.clone());
        }
        for (controller, (ids, prompts)) in &shares {
            let Some(controller) = controllers.get_mut(*controller) else { continue };
            controller.begin(&batch.part(ids, prompts))?;
        }
        Ok(())
    }

    /// Lets each controller look at its own rows.
    pub(crate) fn observe<C: Controller>(
        &mut self,
        site: &Site<'_>,
        controllers: &mut [C],
        of: impl Fn(u64) -> Option<Share>,
    ) {
        self.exited.clear();
        for (controller, (rows, ids)) in self.shares(site, of) {
            let Some(controller) = controllers.get_mut(controller) else { continue };
            site.part(&rows, &ids, |site| controller.observe(site));
        }
    }

    /// `of` says by a row's id whose it is; a row that is nobody's ends the run.
    pub(crate) fn decide<C: Controller>(
        &mut self,
        site: &Site<'_>,
        controllers: &mut [C],
        of: impl Fn(u64) -> Option<Share>,
    ) -> Decision {
        if site.layer() == 0 {
            self.exited.clear();
        }
        let mut actions = vec![Action::Skip; site.rows().len()];
        for (controller, (rows, ids)) in self.shares(site, of) {
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
            // What all rows do alike goes straight through the engine.
            Some(first) if self.exited.is_empty() && actions.iter().all(|action| action == first) => (*first).into(),
            _ => Decision::PerRow(actions),
        }
    }

    /// By controller, its rows and their ids.
    fn shares(&self, site: &Site<'_>, of: impl Fn(u64) -> Option<Share>) -> BTreeMap<usize, (Vec<usize>, Vec<u64>)> {
        let mut shares: BTreeMap<usize, (Vec<usize>, Vec<u64>)> = BTreeMap::new();
        for (row, of_row) in site.rows().iter().enumerate().filter(|(_, row)| !self.exited.contains(&row.id)) {
            let Some(Share { controller, id }) = of(of_row.id) else {
                site.fail(unknown(of_row.id));
                continue;
            };
            let (rows, ids) = shares.entry(controller).or_default();
            rows.push(row);
            ids.push(id);
        }
        shares
    }
}

/// A sequence that no controller was chosen for.
pub(crate) fn unknown(sequence: u64) -> ControllerError {
    let expected = "one that a controller was chosen for".to_owned();
    ControllerError::Setting { setting: "the sequence", found: sequence.to_string(), expected }
}

/// One action per row. What does not fit ends the run, through the site.
fn answers<C: Controller + ?Sized>(site: &Site<'_>, controller: &mut C) -> Vec<Action> {
    let rows = site.rows().len();
    match controller.decide(site) {
        Decision::All(action) => vec![action; rows],
        Decision::PerRow(actions) => {
            if actions.len() != rows {
                site.watch.note(format!("one action per row, {rows}"), actions.len().to_string());
            }
            actions
        }
        Decision::Gate(_) => {
            let expected = "actions, as other rows answer to other controllers".to_owned();
            site.fail(ControllerError::Setting { setting: "the answer", found: "a gate".to_owned(), expected });
            vec![Action::Run; rows]
        }
    }
}
