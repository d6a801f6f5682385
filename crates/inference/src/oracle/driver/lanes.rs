//! The lanes of one prompt: a controller each.

use super::candidate::Boxed;
use crate::control::{Action, Assignment, Batch, Controller, ControllerError, Decision, Dispatcher, Site};

/// Looks at the prompt on behalf of all lanes.
pub(super) struct Watching<'a>(pub(super) &'a mut [Boxed]);

impl Controller for Watching<'_> {
    /// Never asked: the prompt is not controlled.
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

/// Decides for lanes that run together; row `i` of the batch as it began has the id `i`.
///
/// Every lane's controller sees a batch of one row, under the sequence's own id: what it would see alone.
pub(super) struct Lanes<'a> {
    controllers: Vec<&'a mut Boxed>,
    sequence: u64,
    split: Dispatcher,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(controllers: Vec<&'a mut Boxed>, sequence: u64) -> Self {
        Self { controllers, sequence, split: Dispatcher::default() }
    }
}

impl Controller for Lanes<'_> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let id = self.sequence;
        let share = |lane| Some(Assignment { controller: usize::try_from(lane).ok()?, id });
        self.split.decide(site, &mut self.controllers, share)
    }
}
