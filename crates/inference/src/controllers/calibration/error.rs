//! Errors of calibrations.

use crate::files::FileError;
use crate::parameters::DeviceReadError;
use crate::tokens::TokenProblem;

/// The error of a calibration that cannot be measured, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There is no text.
    #[error("there is no calibration text; at least one is needed")]
    NoText,
    /// The model cannot run a text.
    #[error("calibration text {text} {problem}")]
    Text {
        /// The text's index.
        text: usize,
        /// The problem.
        problem: TokenProblem,
    },
    /// The model computed something that is not a finite number.
    #[error("the state {what} layer {layer} holds a value that is not finite")]
    NotFinite {
        /// The layer.
        layer: usize,
        /// `entering` or `leaving`.
        what: &'static str,
    },
    /// The device did not deliver the states.
    #[error(transparent)]
    Device(#[from] DeviceReadError),
    /// A calibration does not fit the model.
    #[error("the calibration's {what} is {found}; the model's is {expected}")]
    Mismatch {
        /// The quantity that does not fit.
        what: &'static str,
        /// Its value in the calibration.
        found: usize,
        /// Its value in the model.
        expected: usize,
    },
    /// A value is out of its range.
    #[error("a calibration with {what} {found}; expected {expected}")]
    Value {
        /// The quantity.
        what: &'static str,
        /// Its value.
        found: String,
        /// The values that are possible.
        expected: &'static str,
    },
    /// The file cannot be read or written, or does not hold a calibration.
    #[error(transparent)]
    File(#[from] FileError),
}
