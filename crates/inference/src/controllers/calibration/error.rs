//! Why a calibration is not possible.

use crate::tokens::TokenProblem;
use std::path::PathBuf;

/// Why a model cannot be calibrated on texts, or a calibration not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There is no text.
    #[error("no calibration text; at least one token is needed")]
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
    #[error("reading the states at layer {layer} from the device failed: {reason}")]
    Device {
        /// The layer.
        layer: usize,
        /// What the device said.
        reason: String,
    },
    /// A calibration does not fit the model.
    #[error("the calibration's {what} is {found}; the model's is {expected}")]
    Mismatch {
        /// What does not fit.
        what: &'static str,
        /// Of the calibration.
        found: usize,
        /// Of the model.
        expected: usize,
    },
    /// Values that no measurement gives.
    #[error("a calibration with {what} {found}; expected {expected}")]
    Value {
        /// What it is.
        what: &'static str,
        /// Its value.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// The file cannot be read or written.
    #[error("{path}: cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not the JSON of a calibration.
    #[error("{path}: not a calibration of this kind")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found, with line and column.
        source: serde_json::Error,
    },
}
