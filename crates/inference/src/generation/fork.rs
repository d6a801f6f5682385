//! Many continuations of one prompt: its passes run once, and every lane gets a copy of the cache.

use super::generate::Draw;
use super::score::step_through;
use super::session::{Session, Settings};
use super::{GenerateError, GenerateOptions, Generation, Scores};
use crate::control::{ControlFrom, Controller, RunSettings};
use crate::sampling::Sampling;
use dynlayer_model::Llama;

/// A prompt of which all tokens but the last have run at full depth, as under [`ControlFrom::LastPromptToken`].
///
/// A *lane* is a row that continues independently from there. The caller chooses the lane's id, but its random draws
/// depend on the sequence's id, so a lane generates the same tokens as the sequence would alone.
#[derive(Debug)]
pub(crate) struct Prefilled<'a> {
    session: Session<'a>,
    sequence: u64,
}

/// Settings that all lanes of a prompt share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkSettings {
    /// The settings of the run. `control_from` is ignored: control always begins with the last prompt token.
    pub(crate) run: RunSettings,
    /// The expected number of new tokens per lane, for which the cache reserves room.
    pub(crate) new_tokens: usize,
}

/// The sampling of one lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneSampling {
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
}

impl<'a> Prefilled<'a> {
    /// Begins a batch of one checked prompt, and runs all of its tokens but the last while the controller observes.
    pub(crate) fn new<C: Controller + ?Sized>(
        model: &'a Llama,
        controller: &mut C,
        sequence: u64,
        prompt: &[u32],
        settings: ForkSettings,
    ) -> Result<Self, GenerateError> {
        let ForkSettings { run, new_tokens } = settings;
        let run = RunSettings { control_from: ControlFrom::LastPromptToken, ..run };
        let settings = Settings { run, keep_states: false };
        let mut session = Session::begin(model, controller, &[sequence], &[prompt.to_vec()], new_tokens, settings)?;
        session.prefill(controller)?;
        Ok(Self { session, sequence })
    }

    /// Generates a continuation in every lane, with the lane's sampling. Does not call the controller's `begin` again.
    pub(crate) fn generate<C: Controller>(
        &self,
        controller: C,
        lanes: &[u64],
        samplings: Vec<LaneSampling>,
        options: GenerateOptions<'a>,
    ) -> Generation<'a, C> {
        let draw = |LaneSampling { sampling, seed }| Draw { sampling, seed, sequence: self.sequence };
        let draws = samplings.into_iter().map(draw).collect();
        Generation::new(controller, self.session.fork(lanes), draws, options)
    }

    /// Steps every lane through the same continuation. Does not call the controller's `begin` again.
    pub(crate) fn score<C: Controller + ?Sized>(
        &self,
        controller: &mut C,
        lanes: &[u64],
        continuation: &[u32],
    ) -> Result<Scores, GenerateError> {
        step_through(self.session.fork(lanes), controller, &vec![continuation; lanes.len()], false)
    }
}
