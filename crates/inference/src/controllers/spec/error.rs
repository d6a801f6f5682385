//! Why there is no such controller.

use super::super::{CalibrationError, RecordingError, RouterError};

/// Why a text is no controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name before the colon is not known.
    #[error(
        "unknown controller {0:?}; known are full, skip:LAYER,LAYER,.., uniform:BUDGET, exit:DEPTH, influence:BUDGET, \
         random:BUDGET, bernoulli:PROBABILITY, schedule:MAX..MIN,to=POSITION, confidence:GAP, entropy:NATS, \
         saturation:COSINE, similarity:EFFECT, router:FILE, replay:FILE, budgeted:BUDGET:CONTROLLER, \
         warmup:TOKENS:CONTROLLER"
    )]
    Unknown(String),
    /// The part after the colon is missing, superfluous or not what it should be.
    #[error("controller {name:?} takes {expected}, not {found:?}")]
    Argument {
        /// The controller's name.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was found after the colon.
        found: String,
    },
    /// An option that the controller does not have, given twice, or with a value that it cannot have.
    #[error("controller {name:?} has options {expected}, not {found:?}")]
    Option {
        /// The controller's name.
        name: &'static str,
        /// The options it has.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// Controllers around controllers around controllers.
    #[error("more than {limit} controllers inside each other")]
    TooDeep {
        /// How many there may be.
        limit: usize,
    },
}

/// Why a controller cannot be built from its specification.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The controller is measured on text first, and there is none.
    #[error("{spec} is calibrated on text, and there is none: give some as Resources::texts, as token ids")]
    NoCalibrationText {
        /// The specification.
        spec: String,
    },
    /// The calibration failed.
    #[error("the calibration of {spec} failed")]
    Calibration {
        /// The specification.
        spec: String,
        /// Why.
        source: CalibrationError,
    },
    /// The router's file cannot be used.
    #[error("a router cannot be used")]
    Router(#[from] RouterError),
    /// The recording cannot be used.
    #[error("a recording cannot be used")]
    Recording(#[from] RecordingError),
}
