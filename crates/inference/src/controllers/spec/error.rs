//! Errors of specifications.

use super::super::{CalibrationError, ControllerSpec};
use std::path::PathBuf;

/// The error for a text that is not a specification of a controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name before the colon is not known.
    #[error("unknown controller {found:?}; known are {}", forms())]
    Unknown {
        /// The name.
        found: String,
    },
    /// A value is missing, superfluous or of the wrong type, or an option is unknown, repeated or has a wrong value.
    #[error("found {found:?}; expected {expected}")]
    Form {
        /// The controller's form, as in [`SpecForm::syntax`](super::SpecForm::syntax).
        expected: &'static str,
        /// The specification, or the option that is wrong.
        found: String,
    },
    /// Too many controllers are nested.
    #[error("more than {limit} nested controllers")]
    TooDeep {
        /// The largest number of nested controllers that is allowed.
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
    /// The controller must be calibrated on text, and there is none.
    #[error("{controller} must be calibrated on text, and there is none; give texts as token ids to Resources::texts")]
    NoCalibrationText {
        /// The controller's name.
        controller: &'static str,
    },
    /// The calibration failed.
    #[error("the calibration of {controller} failed")]
    Calibration {
        /// The controller's name.
        controller: &'static str,
        /// The reason.
        source: CalibrationError,
    },
    /// The specification names a file, and [`Resources::without_files`](super::Resources::without_files) refuses files.
    #[error("{controller} would read the file {file}, and files are refused; expected a name that was given: {known}")]
    FileRefused {
        /// The controller's name.
        controller: &'static str,
        /// The file, as the specification names it.
        file: PathBuf,
        /// The names of the routers or recordings that were given, separated by commas.
        known: String,
    },
    /// A file cannot be used for the controller.
    #[error("{controller} cannot be made from its file")]
    File {
        /// The controller's name.
        controller: &'static str,
        /// The reason: a [`RouterError`](crate::controllers::RouterError), or a
        /// [`RecordingError`](crate::controllers::RecordingError).
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BuildError {
    pub(crate) fn file(controller: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::File { controller, source: source.into() }
    }
}
