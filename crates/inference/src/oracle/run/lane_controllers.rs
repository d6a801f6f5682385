//! The controllers of all lanes of one prompt, as one controller.

use super::candidate::BoxedController;
use crate::control::{Action, Assignment, Batch, Controller, ControllerError, Decision, Dispatcher, Site};

/// Lets the controllers of all lanes observe the prompt.
pub(super) struct PromptObservers<'a>(pub(super) &'a mut [BoxedController]);

impl Controller for PromptObservers<'_> {
    /// Never called, since the prompt is not controlled.
    fn decide(&mut self, _site: &Site<'_>) -> Decision {
        Action::Run.into()
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.0.iter_mut().try_for_each(|controller| controller.begin(batch))
    }

    fn observe(&mut self, site: &Site<'_>) {
        self.0.iter_mut().for_each(|controller| controller.observe(site));
    }
}

/// Controls lanes that run together as a batch. Initially, row `i` of the batch is lane `i` and has the id `i`.
///
/// Every lane's controller sees a batch of one row under the sequence's own id, as if it ran alone.
pub(super) struct LaneControllers<'a> {
    controllers: Vec<&'a mut BoxedController>,
    sequence: u64,
    dispatcher: Dispatcher,
}

impl<'a> LaneControllers<'a> {
    pub(super) fn new(controllers: Vec<&'a mut BoxedController>, sequence: u64) -> Self {
        Self { controllers, sequence, dispatcher: Dispatcher::default() }
    }
}

impl Controller for LaneControllers<'_> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let id = self.sequence;
        let assignment = |lane| Some(Assignment { controller: usize::try_from(lane).ok()?, id });
        self.dispatcher.decide(site, &mut self.controllers, assignment)
    }
}
