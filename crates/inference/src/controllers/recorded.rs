//! A record of another controller's answers.

use super::sequences::{Passes, Rewind, Sequences};
use super::{Recording, RecordingError};
use crate::control::{Controller, ControllerError, Decision, Event, Place, Sequence, Site};

/// Records the answers of another controller, pass by pass, so that [`Replayed`](super::Replayed) can repeat them.
///
/// Each run starts a new recording, in which a sequence is named by its [stream](crate::Row::stream). A sequence that
/// has ended stays in it until another one of the same stream joins. Answers for rows that have exited are left out, and
/// so are passes whose last token was dropped because the sequence was shortened.
///
/// # Errors
///
/// If the other controller answers with a gate, the run ends with an error whose source is [`RecordingError::Gate`]. A
/// sequence cannot join while another one of the same stream is recorded ([`RecordingError::Stream`]), so a copy of a
/// sequence needs a stream of its own.
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
    /// The sequences that are recorded now.
    live: Sequences<Live>,
}

/// The recorded passes of a sequence that has not ended.
#[derive(Clone, Debug, Default)]
struct Live {
    stream: u64,
    passes: Passes<()>,
}

impl Rewind for Live {
    fn rewind(&mut self, tokens: usize) {
        self.passes.rewind(tokens);
    }
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

    /// Refuses a sequence whose stream is being recorded for another one.
    fn check_stream(&self, &Sequence { id, stream, .. }: &Sequence<'_>) -> Result<(), RecordingError> {
        let same = self.live.iter().find(|(other, live)| *other != id && live.stream == stream);
        match same {
            Some((other, _)) => Err(RecordingError::Stream { stream, sequences: [other, id] }),
            None => Ok(()),
        }
    }

    /// Begins the recording of a sequence. A copy begins with what was recorded of its original.
    fn join(&mut self, &Sequence { id, stream, copy_of, .. }: &Sequence<'_>) {
        let original = copy_of.and_then(|id| self.live.get(id)).cloned();
        let passes = original.as_ref().and_then(|original| self.recording.passes(original.stream));
        let passes = passes.unwrap_or_default().to_vec();
        self.recording.set(stream, passes);
        *self.live.entry(id) = Live { stream, ..original.unwrap_or_default() };
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
                Place::Layer => self.recording.add(row.stream, action),
                Place::Mlp => self.recording.settle(row.stream, action),
            }
            action
        })
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    /// # Errors
    /// If a sequence of the same stream is recorded, or the inner controller fails.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        if let Event::Begin(sequence) = event
            && sequence.joins
        {
            self.check_stream(sequence).map_err(ControllerError::other)?;
            self.inner.on(event)?;
            self.join(sequence);
            return Ok(());
        }
        self.live.on(event);
        match event {
            Event::Start(setup) => self.recording = Recording::new(setup.n_layers()),
            Event::Pass(pass) if pass.controlled() => {
                for row in pass.rows() {
                    let live = self.live.entry(row.id);
                    live.stream = row.stream;
                    live.passes.push(row.position, ());
                    self.recording.open_pass(row.stream);
                }
            }
            Event::Rewind { id, .. } => {
                if let Some(Live { stream, passes }) = self.live.get(*id) {
                    self.recording.truncate(*stream, passes.len());
                }
            }
            _ => {}
        }
        self.inner.on(event)
    }
}
