//! A record of another controller's answers.

use super::{Recording, RecordingError};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};

/// Records the answers of another controller, pass by pass, so that [`Replayed`](super::Replayed) can repeat them.
///
/// Each run starts a new recording. Answers for rows that have exited are left out. If the other controller answers
/// with a gate, the run ends with an error whose source is [`RecordingError::Gate`].
///
/// ```no_run
/// use dynlayer_inference::controllers::{ConfidenceExit, ExitRule, Recorded, Recording, Replayed};
/// use dynlayer_inference::{GenerateOptions, generate};
/// # fn run(model: &dynlayer_model::Llama, prompts: &[Vec<u32>]) -> Result<(), Box<dyn std::error::Error>> {
/// let mut recorded = Recorded::new(ConfidenceExit::new(ExitRule::new(0.9)));
/// let (first, _) = generate(model, &mut recorded, prompts, GenerateOptions::default())?.finish()?;
/// recorded.recording().save("routes.json")?;
///
/// let replayed = Replayed::new(Recording::load("routes.json")?);
/// let (again, _) = generate(model, replayed, prompts, GenerateOptions::default())?.finish()?;
/// assert_eq!(first, again);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Recorded<C> {
    inner: C,
    recording: Recording,
}

impl<C> Recorded<C> {
    /// Returns a controller that records the answers of `inner`.
    pub fn new(inner: C) -> Self {
        Self { inner, recording: Recording::new(0) }
    }

    /// The answers of the current or latest run so far; empty before the first run.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The inner controller.
    pub fn inner(&self) -> &C {
        &self.inner
    }
}

impl<C: Controller> Controller for Recorded<C> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let decision = self.inner.decide(site);
        if site.layer() == 0 {
            site.rows().iter().for_each(|row| self.recording.open_pass(row.id));
        }
        let rows = site.rows().iter();
        match &decision {
            Decision::All(action) => rows.for_each(|row| self.recording.add(row.id, *action)),
            // The engine refuses a wrong number of actions.
            Decision::PerRow(actions) => {
                rows.zip(actions).for_each(|(row, action)| self.recording.add(row.id, *action));
            }
            Decision::Gate(_) => {
                site.fail(ControllerError::other(RecordingError::Gate { layer: site.layer() }));
                return Action::Run.into();
            }
        }
        decision
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.recording = Recording::new(batch.n_layers());
        self.inner.begin(batch)
    }

    fn observe(&mut self, site: &Site<'_>) {
        self.inner.observe(site);
    }
}
