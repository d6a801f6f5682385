//! A fixed set of skipped layers.

use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Skips the layers of a set, for every row and token.
///
/// ```
/// # use dynlayer_inference::controllers::SkipLayers;
/// let controller = SkipLayers::new([3, 5, 7]);
/// assert!(controller.layers().eq([3, 5, 7]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipLayers {
    layers: BTreeSet<usize>,
}

impl SkipLayers {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "skip:LAYER,LAYER,..",
        about: "all layers but these, counted from 0",
        fields: Fields::List("layers"),
    };

    /// Returns a controller that skips these layers, counted from 0; repeated ones count once.
    pub fn new(layers: impl IntoIterator<Item = usize>) -> Self {
        Self { layers: layers.into_iter().collect() }
    }

    /// The skipped layers, ascending.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().copied()
    }
}

impl Controller for SkipLayers {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let skipped = self.layers.contains(&site.layer());
        Ok(if skipped { Action::Skip } else { Action::Run }.into())
    }

    /// # Errors
    /// If the set names a layer that the model does not have.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        self.layers().try_for_each(|layer| setup.check_layer(layer))
    }
}
