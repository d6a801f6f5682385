//! Every layer, always.

use crate::control::{Action, Controller, Decision, Site};

/// Runs every layer: the reference that other controllers are compared with.
///
/// ```
/// # use dynlayer_inference::{Controller, controllers::FullDepth};
/// let controller: Box<dyn Controller> = Box::new(FullDepth);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullDepth;

impl Controller for FullDepth {
    fn decide(&mut self, _site: &Site<'_>) -> Decision {
        Action::Run.into()
    }
}
