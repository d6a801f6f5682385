//! Where a training is kept.

use super::{Trainer, TrainerOptions, TrainingError};
use burn::module::Module;
use serde::Serialize;
use std::path::Path;

/// The folder of a training that can be stopped and gone on with; see [`Trainer::in_folder`].
#[derive(Clone, Copy, Debug)]
pub struct TrainingFolder<'a> {
    /// The folder.
    pub path: &'a Path,
    /// Which model and data these are. Together with all options it tells one training from another.
    pub what: &'a str,
}

/// A trainer, in the folder if there is one.
pub(super) fn trainer<M: Module>(
    folder: Option<TrainingFolder<'_>>,
    recipe: &impl Serialize,
    module: M,
    options: TrainerOptions,
) -> Result<Trainer<M>, TrainingError> {
    let Some(TrainingFolder { path, what }) = folder else { return Trainer::new(module, options) };
    let json = |source: serde_json::Error| TrainingError::Io {
        path: path.to_path_buf(),
        what: "the options cannot be written as JSON",
        source: source.into(),
    };
    let identity = serde_json::to_string(&(what, recipe)).map_err(json)?;
    Trainer::in_folder(path, &identity, module, options)
}
