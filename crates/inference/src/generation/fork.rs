//! Many continuations of one prompt: its passes run once, and every lane gets a copy of the cache.

use super::score::{step_through, unscored};
use super::session::{SequenceOptions, Session, SessionOptions};
use super::{GenerateError, Generation, Scores};
use crate::control::{Action, ControlFrom, Controller, ControllerFn, RunSettings, Site, controller_fn};
use dynlayer_model::Llama;
use dynlayer_model::text::Tokenizer;

/// A controller that is never asked.
type Nobody = ControllerFn<fn(&Site<'_>) -> Action>;

/// A prompt of which all tokens but the last have run at full depth, as under [`ControlFrom::LastPromptToken`].
///
/// A *lane* is a row that continues independently from there. The caller chooses the lane's id, but it keeps the
/// sequence's stream, so a lane generates the same tokens as the sequence would alone.
#[derive(Debug)]
pub(crate) struct Prefilled<'a> {
    /// A session of the one sequence.
    session: Session<'a, Nobody>,
    sequence: u64,
}

impl<'a> Prefilled<'a> {
    /// Runs all tokens of a checked prompt but the last, while the controller observes. Control begins with the last
    /// prompt token, whatever `run` says.
    pub(crate) fn new<C: Controller>(
        model: &'a Llama,
        controller: C,
        sequence: u64,
        prompt: &[u32],
        run: RunSettings,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self, GenerateError> {
        let run = RunSettings { control_from: ControlFrom::LastPromptToken, ..run };
        let options = SessionOptions { run, tokenizer: tokenizer.map(Into::into), ..SessionOptions::default() };
        let mut session = Session::new(model, controller, options)?;
        session.push(sequence, prompt, SequenceOptions::default())?;
        while session.has_prompts() {
            session.step()?;
        }
        let nobody: fn(&Site<'_>) -> Action = |_| Action::Run;
        let lane = vec![(sequence, SequenceOptions::default())];
        Ok(Self { session: session.lanes(sequence, controller_fn(nobody), lane)?, sequence })
    }

    /// Generates a continuation in every lane. The controller learns of no start and no sequences.
    pub(crate) fn generate<D: Controller>(
        &self,
        controller: D,
        lanes: Vec<(u64, SequenceOptions)>,
    ) -> Result<Generation<'a, D>, GenerateError> {
        Ok(Generation::new(self.session.lanes(self.sequence, controller, lanes)?))
    }

    /// Steps a number of lanes through the same continuation; their ids are 0, 1, 2 and so on. The controller learns of
    /// no start and no sequences.
    pub(crate) fn score<D: Controller>(
        &self,
        controller: D,
        lanes: usize,
        continuation: &[u32],
    ) -> Result<Scores, GenerateError> {
        let options = super::score::options(continuation);
        let lanes = (0..lanes as u64).map(|id| (id, options.clone())).collect();
        let session = self.session.lanes(self.sequence, controller, lanes)?;
        let scored = unscored(&session);
        step_through((session, scored))
    }
}
