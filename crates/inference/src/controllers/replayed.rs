//! Repetition of a recorded run.

use super::Recording;
use super::sequences::{Passes, Sequences};
use super::spec::{Build, BuildError, Fields, Needs, Resources, Source, SpecForm};
use crate::control::{Controller, ControllerError, Decision, Event, Row, Site};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Repeats the actions of a [`Recording`], by sequence id and pass. The batch and its order may differ. A sequence that is
/// shortened goes back to the first pass after the tokens that are left, and a copy goes on from where it was copied.
///
/// The run ends with an error, whose source is a [`RecordingError`](super::RecordingError), if control begins elsewhere
/// than in the recorded run, or if a sequence is not in the recording or has more passes than were recorded. Under
/// [`ControlFrom::All`](crate::ControlFrom::All) each chunk of a prompt is a pass, so give the same prompts.
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
    /// The controlled passes of each sequence so far, the current one included.
    passes: Sequences<Passes<()>>,
}

impl Replayed {
    /// Returns a controller that repeats this recording.
    pub fn new(recording: Recording) -> Self {
        Self { recording, passes: Sequences::default() }
    }
}

/// The specification of a [`Replayed`] whose recording is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySpec {
    /// A file that [`Recording::save`] wrote, relative to [`Resources::folder`], or the name of a recording given to
    /// [`Resources::recording`].
    pub file: PathBuf,
}

impl ReplaySpec {
    pub(crate) const FORM: SpecForm =
        SpecForm { syntax: "replay:FILE", about: "the layers of the recorded run in FILE", fields: Fields::File };
}

impl Build for ReplaySpec {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        let refused = |error| BuildError::file("replay", error);
        let recording = match resources.recording_source(&self.file)? {
            Source::Given(recording) => recording.clone(),
            Source::File(path) => Recording::load(path).map_err(refused)?,
        };
        recording.check_layers(model.layers().len()).map_err(refused)?;
        Ok(Box::new(Replayed::new(recording)))
    }

    fn needs(&self) -> Needs {
        Needs { files: vec![self.file.clone()], ..Needs::default() }
    }
}

impl Controller for Replayed {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let action = |row: &Row| {
            let pass = self.passes.get(row.id).map_or(0, |passes| passes.len().saturating_sub(1));
            self.recording.action(row.id, pass, site.layer()).map_err(ControllerError::other)
        };
        Ok(Decision::PerRow(site.rows().iter().map(action).collect::<Result<_, _>>()?))
    }

    /// # Errors
    /// If the recording was made with a model of another number of layers, or with another start of control.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.passes.on(event);
        match event {
            Event::Start(setup) => self.recording.check_run(setup).map_err(ControllerError::other)?,
            Event::Pass(pass) if pass.controlled() => {
                pass.rows().iter().for_each(|row| self.passes.entry(row.id).push(row.position, ()));
            }
            _ => {}
        }
        Ok(())
    }
}
