//! Errors of controllers.

/// The reason why a controller refuses a run or a sequence, or cannot go on.
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
    /// The controller broke its contract: a wrong number of actions, an action that is not allowed at this place, or a
    /// number to read that is not finite.
    #[error("the controller broke its contract at layer {layer}: expected {expected}, found {found}")]
    Contract {
        /// The layer.
        layer: usize,
        /// The answer that the contract requires.
        expected: String,
        /// The controller's answer.
        found: String,
    },
    /// No controller was given for a sequence.
    #[error("sequence {sequence} has no controller; give it one before it joins")]
    NoController {
        /// The sequence's id.
        sequence: u64,
    },
    /// The controller of one sequence failed, while other sequences have other controllers.
    #[error("the controller of sequence {sequence}")]
    Sequence {
        /// The sequence's id.
        sequence: u64,
        /// The controller's error.
        source: Box<ControllerError>,
    },
    /// The device did not deliver numbers that were read.
    #[error("reading from the device failed: {0}")]
    Device(String),
    /// Another reason, given by the controller.
    #[error("the controller gave up")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControllerError {
    /// Returns [`Self::Setting`] unless `ok` is `true`.
    ///
    /// # Errors
    /// [`Self::Setting`] if `ok` is `false`.
    pub fn check(
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
