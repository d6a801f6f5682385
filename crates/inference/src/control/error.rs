//! Why a controller refuses a batch.

/// Why a controller refuses to begin a batch, or cannot go on ([`Site::fail`](super::Site::fail)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// The controller names a layer that the model does not have.
    #[error("layer {layer} does not exist: the model has layers 0 to {}", n_layers.saturating_sub(1))]
    LayerOutOfRange {
        /// The layer asked for.
        layer: usize,
        /// How many layers the model has.
        n_layers: usize,
    },
    /// The controller wants to run more layers than the model has, or none where that is meaningless.
    #[error("a budget of {budget} layers: the model has {n_layers}, so it must be from {least} to {n_layers}")]
    Budget {
        /// The layers asked for.
        budget: usize,
        /// The least that makes sense for this controller.
        least: usize,
        /// How many layers the model has.
        n_layers: usize,
    },
    /// A setting of the controller makes no sense, alone or for this model.
    #[error("{setting} is {found}; expected {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// The controller's own reason.
    #[error("the controller gave up")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControllerError {
    /// Refuses a setting unless `ok`.
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
