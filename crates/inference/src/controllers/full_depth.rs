//! Full depth: every layer for every token.

use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Site};
use serde::{Deserialize, Serialize};

/// Runs every layer: the reference that other controllers are compared with.
///
/// ```
/// # use dynlayer_inference::{Controller, controllers::FullDepth};
/// let controller: Box<dyn Controller> = Box::new(FullDepth);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullDepth;

impl FullDepth {
    pub(crate) const FORM: SpecForm = SpecForm { syntax: "full", about: "all layers", fields: Fields::None };
}

impl Controller for FullDepth {
    fn decide(&mut self, _site: &Site<'_>) -> Result<Decision, ControllerError> {
        Ok(Action::Run.into())
    }
}
