//! Several controllers that observe the same passes.

use super::{Action, Controller, ControllerError, Decision, Event, Site};

/// Lets several controllers observe passes about which none of them decides.
pub(crate) struct Observers<'a, C>(pub(crate) &'a mut [C]);

impl<C: Controller> Controller for Observers<'_, C> {
    /// Never called, since the passes are not controlled.
    fn decide(&mut self, _site: &Site<'_>) -> Result<Decision, ControllerError> {
        Ok(Action::Run.into())
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.0.iter_mut().try_for_each(|controller| controller.observe(site))
    }

    /// Tells all, also if one fails: others must not miss that a sequence has ended.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.0.iter_mut().map(|controller| controller.on(event)).fold(Ok(()), Result::and)
    }
}
