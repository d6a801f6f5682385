//! Early exit at a fixed depth.

use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use serde::{Deserialize, Serialize};

/// Runs exactly the first `depth` layers: early exit at a fixed layer (CALM, Schuster et al. 2022, with a constant
/// rule).
///
/// ```
/// # use dynlayer_inference::{Controller, controllers::ExitAfter};
/// let controller: Box<dyn Controller> = Box::new(ExitAfter(20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Depth", into = "Depth")]
pub struct ExitAfter(
    /// The number of layers that run.
    pub usize,
);

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Depth {
    depth: usize,
}

impl From<Depth> for ExitAfter {
    fn from(Depth { depth }: Depth) -> Self {
        Self(depth)
    }
}

impl From<ExitAfter> for Depth {
    fn from(ExitAfter(depth): ExitAfter) -> Self {
        Self { depth }
    }
}

impl ExitAfter {
    pub(crate) const FORM: SpecForm =
        SpecForm { syntax: "exit:LAYERS", about: "the first LAYERS layers", fields: Fields::Values(&["depth"], &[]) };
}

impl Controller for ExitAfter {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        Ok(if site.layer() < self.0 { Action::Run } else { Action::Exit }.into())
    }

    /// # Errors
    /// If the depth is more than the model's number of layers.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        setup.check_budget(self.0, 0)
    }
}
