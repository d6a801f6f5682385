//! Errors of calibrations.

use crate::files::FileError;
use crate::parameters::DeviceError;

/// The error of a calibration that cannot be measured, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There is no text.
    #[error("no calibration text; at least one token is needed")]
    NoText,
    /// A text has no token.
    #[error("calibration text {text} is empty; at least one token is needed")]
    EmptyText {
        /// The text's index.
        text: usize,
    },
    /// A text has more tokens than the model has positions.
    #[error("calibration text {text} has {tokens} tokens; the model's context is {context}")]
    TextTooLong {
        /// The text's index.
        text: usize,
        /// Its tokens.
        tokens: usize,
        /// The model's positions.
        context: usize,
    },
    /// A token id is not in the model's vocabulary.
    #[error("calibration text {text} holds token {token}; the model's vocabulary has {vocab_size}")]
    TokenOutOfRange {
        /// The text's index.
        text: usize,
        /// The token id.
        token: u32,
        /// The model's vocabulary.
        vocab_size: usize,
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
    Device(#[from] DeviceError),
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
    /// The file cannot be read or written, or is not a calibration's.
    #[error(transparent)]
    File(#[from] FileError),
}
