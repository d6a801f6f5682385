//! The controllers of all lanes of one prompt, as one controller.

use super::candidate::BoxedController;
use crate::control::{Controller, ControllerError, Decision, Event, Outcome, Pass, Row, RowOutcome, Site};

/// Controls lanes that run together as a batch, of which lane `i` has the id `i`.
///
/// Every lane's controller sees a batch of one row under the sequence's own id and the run's seed, as if it ran alone.
pub(super) struct LaneControllers<'a> {
    pub(super) controllers: Vec<&'a mut BoxedController>,
    pub(super) sequence: u64,
    pub(super) seed: u64,
}

impl LaneControllers<'_> {
    fn renamed(&self, row: &Row) -> Row {
        Row { id: self.sequence, seed: self.seed, ..row.clone() }
    }

    fn controller(&mut self, lane: u64) -> Result<&mut BoxedController, ControllerError> {
        let controller = usize::try_from(lane).ok().and_then(|lane| self.controllers.get_mut(lane));
        controller.map(|controller| &mut **controller).ok_or(ControllerError::NoController { sequence: lane })
    }
}

impl Controller for LaneControllers<'_> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        site.decide_by(
            |row| Ok(row.id),
            |lane, part| {
                let rows: Vec<Row> = part.rows().iter().map(|row| self.renamed(row)).collect();
                self.controller(lane)?.decide(&Site { rows: &rows, ..*part })
            },
        )
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let id = self.sequence;
        let lanes: Vec<u64> = match event {
            Event::Pass(pass) => pass.rows.iter().map(|row| row.id).collect(),
            Event::Outcome(outcome) => outcome.rows.iter().map(|row| row.row.id).collect(),
            Event::Rewind { id, .. } | Event::End { id } => vec![*id],
            // Lanes are not begun, and do not speculate.
            Event::Start(_) | Event::Begin(_) | Event::Verified(_) => Vec::new(),
        };
        for lane in lanes {
            event.part(
                |id| id == lane,
                |event| match event {
                    Event::Pass(pass) => {
                        let rows: Vec<Row> = pass.rows.iter().map(|row| self.renamed(row)).collect();
                        self.controller(lane)?.on(&Event::Pass(&Pass { rows: &rows, ..**pass }))
                    }
                    Event::Outcome(outcome) => {
                        let rows: Vec<Row> = outcome.rows.iter().map(|row| self.renamed(row.row)).collect();
                        let rows = outcome.rows.iter().zip(&rows).map(|(outcome, row)| RowOutcome { row, ..*outcome });
                        let outcome = Outcome { rows: rows.collect(), of: outcome.of.clone(), ..**outcome };
                        self.controller(lane)?.on(&Event::Outcome(&outcome))
                    }
                    Event::Rewind { tokens, .. } => self.controller(lane)?.on(&Event::Rewind { id, tokens: *tokens }),
                    Event::End { .. } => self.controller(lane)?.on(&Event::End { id }),
                    Event::Start(_) | Event::Begin(_) | Event::Verified(_) => Ok(()),
                },
            )?;
        }
        Ok(())
    }
}
