//! Every layer, always.

use super::spec::{Argument, Spec, SpecError};
use crate::control::{Action, Controller, Decision, Site};
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

impl Spec for FullDepth {
    const SYNTAX: &'static str = "full";
    const ABOUT: &'static str = "all layers";

    fn read(_: &mut Argument<'_>) -> Result<Self, SpecError> {
        Ok(Self)
    }

    fn write(&self) -> String {
        String::new()
    }
}

impl Controller for FullDepth {
    fn decide(&mut self, _site: &Site<'_>) -> Decision {
        Action::Run.into()
    }
}
