//! A run that is repeated.

use super::{Recording, RecordingError};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use std::collections::HashMap;

/// Repeats the actions of a [`Recording`], by sequence id and pass: whatever the batch, its order, and who decided
/// first.
///
/// A sequence that the recording does not know, or one that runs on after its end, ends the run with a
/// [`RecordingError`] as source.
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
    /// Controlled passes so far, by sequence.
    passes: HashMap<u64, usize>,
}

impl Replayed {
    /// Repeats this recording.
    pub fn new(recording: Recording) -> Self {
        Self { recording, passes: HashMap::new() }
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
    /// If the recording was made with a model of other depth.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let (found, expected) = (self.recording.n_layers(), batch.n_layers());
        if found != expected {
            return Err(ControllerError::other(RecordingError::Layers { found, expected }));
        }
        self.passes.clear();
        Ok(())
    }
}
