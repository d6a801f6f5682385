//! Errors of controllers and of the passes that they decide about.

/// The reason why a controller refuses a batch, or cannot go on ([`Site::fail`](super::Site::fail)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// The controller names a layer that the model does not have.
    #[error("layer {layer} does not exist: the model has layers 0 to {}", n_layers.saturating_sub(1))]
    LayerOutOfRange {
        /// The index of the layer.
        layer: usize,
        /// The number of layers of the model.
        n_layers: usize,
    },
    /// The controller's budget is larger than the model's number of layers, or smaller than the controller allows.
    #[error("a budget of {budget} layers: the model has {n_layers}, so it must be from {least} to {n_layers}")]
    Budget {
        /// The budget, in layers.
        budget: usize,
        /// The smallest budget that this controller allows.
        least: usize,
        /// The number of layers of the model.
        n_layers: usize,
    },
    /// A setting of the controller is out of its range, alone or for this model.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The value of the setting.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// Another reason, given by the controller.
    #[error("the controller gave up")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControllerError {
    /// Returns [`Self::Setting`] unless `ok` is `true`.
    pub(crate) fn check(
        ok: bool,
        setting: &'static str,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Result<(), Self> {
        if ok { Ok(()) } else { Err(Self::Setting { setting, found: found.to_string(), expected: expected.into() }) }
    }

    /// Wraps a controller's own error.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

/// The reason why a pass ends early.
#[derive(Debug)]
pub(crate) enum PassError {
    /// The controller broke its contract at a layer.
    Contract { layer: usize, expected: String, found: String },
    /// The controller reported an error with [`Site::fail`](super::Site::fail).
    Controller(ControllerError),
    /// The device did not deliver the logits.
    Device(String),
}
