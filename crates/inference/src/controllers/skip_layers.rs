//! A fixed set of skipped layers.

use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use std::collections::BTreeSet;

/// Skips the layers of a set, for every row and token.
///
/// ```
/// # use dynlayer_inference::controllers::SkipLayers;
/// let controller = SkipLayers::new([3, 5, 7]);
/// assert!(controller.layers().eq([3, 5, 7]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipLayers(BTreeSet<usize>);

impl SkipLayers {
    /// Skips these layers, counted from 0; naming one twice is the same as once.
    pub fn new(layers: impl IntoIterator<Item = usize>) -> Self {
        Self(layers.into_iter().collect())
    }

    /// The skipped layers, ascending.
    pub fn layers(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl Controller for SkipLayers {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if self.0.contains(&site.layer()) { Action::Skip.into() } else { Action::Run.into() }
    }

    /// # Errors
    /// If the set names a layer that the model does not have.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.layers().try_for_each(|layer| batch.check_layer(layer))
    }
}
