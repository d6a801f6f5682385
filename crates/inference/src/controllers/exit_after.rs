//! Early exit at a fixed depth.

use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};

/// Runs exactly the first `depth` layers: early exit at a fixed layer (CALM, Schuster et al. 2022, with a constant
/// rule).
///
/// ```
/// # use dynlayer_inference::{Controller, controllers::ExitAfter};
/// let controller: Box<dyn Controller> = Box::new(ExitAfter(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitAfter(
    /// How many layers run.
    pub usize,
);

impl Controller for ExitAfter {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.layer() < self.0 { Action::Run.into() } else { Action::Exit.into() }
    }

    /// # Errors
    /// If the depth is more than the model's layers.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        batch.check_budget(self.0, 0)
    }
}
