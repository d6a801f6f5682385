//! Repetition of a recorded run.

use super::Recording;
use super::spec::{Build, BuildError, Fields, Resources, SpecForm};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;

/// Repeats the actions of a [`Recording`], by sequence id and pass. The batch and its order may differ.
///
/// The run ends with an error, whose source is a [`RecordingError`](super::RecordingError), if a sequence is not in the
/// recording or has more passes than were recorded.
///
/// ```
/// use dynlayer_inference::Action;
/// use dynlayer_inference::controllers::{Recording, Replayed};
///
/// let mut recording = Recording::new(2);
/// recording.push(0, vec![Action::Run, Action::Skip])?;
/// let controller = Replayed::new(recording);
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// # Ok::<(), dynlayer_inference::controllers::RecordingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Replayed {
    recording: Recording,
    /// The number of controlled passes so far, by sequence id.
    passes: HashMap<u64, usize>,
}

impl Replayed {
    /// Returns a controller that repeats this recording.
    pub fn new(recording: Recording) -> Self {
        Self { recording, passes: HashMap::new() }
    }
}

/// The specification of a [`Replayed`] whose recording is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// A file that [`Recording::save`] wrote, relative to [`Resources::folder`].
    pub file: PathBuf,
}

impl ReplaySpec {
    pub(crate) const FORM: SpecForm =
        SpecForm { syntax: "replay:FILE", about: "the layers of the recorded run in FILE", fields: Fields::File };
}

impl Build for ReplaySpec {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        let refused = |error| BuildError::file("replay", error);
        let recording = Recording::load(resources.path(&self.file)).map_err(refused)?;
        recording.check_layers(model.layers().len()).map_err(refused)?;
        Ok(Box::new(Replayed::new(recording)))
    }
}

impl Controller for Replayed {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.layer() == 0 {
            site.rows().iter().for_each(|row| *self.passes.entry(row.id).or_default() += 1);
        }
        let actions = site.rows().iter().map(|row| {
            let pass = self.passes.get(&row.id).map_or(0, |passes| passes.saturating_sub(1));
            self.recording.action(row.id, pass, site.layer()).unwrap_or_else(|error| {
                site.fail(ControllerError::other(error));
                Action::Run
            })
        });
        Decision::per_row(actions)
    }

    /// # Errors
    /// If the recording was made with a model of another number of layers.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.recording.check_layers(batch.n_layers()).map_err(ControllerError::other)?;
        self.passes.clear();
        Ok(())
    }
}
