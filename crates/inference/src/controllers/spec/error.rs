//! Errors of specifications.

use super::super::{CalibrationError, RecordingError, RouterError};
use super::ControllerSpec;

/// The error for a text that is no specification of a controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name before the colon is not known.
    #[error("unknown controller {found:?}; known are {}", forms())]
    Unknown {
        /// The name.
        found: String,
    },
    /// A value is missing, superfluous or not of its kind; or an option is unknown, given twice or of a wrong value.
    #[error("found {found:?}; expected {expected}")]
    Form {
        /// The controller's form, as in [`SpecForm::syntax`](super::SpecForm::syntax).
        expected: &'static str,
        /// The specification, or the option that is wrong.
        found: String,
    },
    /// Too many controllers are inside each other.
    #[error("more than {limit} controllers inside each other")]
    TooDeep {
        /// How many there may be.
        limit: usize,
    },
}

/// All forms, separated by spaces.
fn forms() -> String {
    ControllerSpec::all().iter().map(|form| form.syntax).collect::<Vec<_>>().join(" ")
}

/// The error for a specification whose controller cannot be made.
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
        /// The reason.
        source: CalibrationError,
    },
    /// The router's file cannot be used.
    #[error("a router cannot be used")]
    Router(#[from] RouterError),
    /// The recording cannot be used.
    #[error("a recording cannot be used")]
    Recording(#[from] RecordingError),
}
