//! A record of another controller's answers.

use super::sequences::{Passes, Sequences};
use super::{Recording, RecordingError};
use crate::control::{Controller, ControllerError, Decision, Event, Place, Site};

/// Records the answers of another controller, pass by pass, so that [`Replayed`](super::Replayed) can repeat them.
///
/// Each run starts a new recording, by sequence id. A sequence that has ended stays in it until another one of the same
/// id joins, and a copy begins with what was recorded of its original. Answers for rows that have exited are left out,
/// and so are passes whose last token was dropped because the sequence was shortened.
///
/// # Errors
///
/// If the other controller answers with a gate, the run ends with an error whose source is [`RecordingError::Gate`].
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
    /// The controlled passes of the sequences that have not ended.
    live: Sequences<Passes<()>>,
}

impl<C> Recorded<C> {
    /// Returns a controller that records the answers of `inner`.
    pub fn new(inner: C) -> Self {
        Self { inner, recording: Recording::new(0), live: Sequences::default() }
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
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let decision = self.inner.decide(site)?;
        if let Decision::Gate(_) = decision {
            return Err(ControllerError::other(RecordingError::Gate { layer: site.layer() }));
        }
        decision.map_rows(site, |row, action| {
            match site.place() {
                Place::Layer => self.recording.add(row.id, action),
                Place::Mlp => self.recording.settle(row.id, action),
            }
            action
        })
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.inner.on(event)?;
        self.live.on(event);
        match event {
            Event::Start(setup) => self.recording = Recording::of(setup),
            Event::Begin(sequence) if sequence.joins => {
                let original = sequence.copy_of.and_then(|id| self.recording.passes(id));
                let passes = original.unwrap_or_default().to_vec();
                self.recording.set(sequence.id, passes);
            }
            Event::Pass(pass) if pass.controlled() => {
                for row in pass.rows() {
                    self.live.entry(row.id).push(row.position, ());
                    self.recording.open_pass(row.id);
                }
            }
            Event::Rewind { id, .. } => {
                if let Some(passes) = self.live.get(*id) {
                    self.recording.truncate(*id, passes.len());
                }
            }
            _ => {}
        }
        Ok(())
    }
}
