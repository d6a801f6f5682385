//! One prompt, many continuations: the prompt's passes are run once, and their cache is copied to every lane.

use super::generate::Draw;
use super::score::force;
use super::session::{Session, Settings};
use super::{ControlFrom, GenerateError, GenerateOptions, Generation, Scores};
use crate::control::Controller;
use crate::engine::{KvPolicy, PartialSkips};
use crate::sampling::Sampling;
use dynlayer_model::Llama;

/// A prompt that has run but its last token, at full depth: where all its lanes begin, as under
/// [`ControlFrom::LastPromptToken`].
///
/// A *lane* is a row with a way of its own from there. Its id is what the caller says; its draws go by the sequence's
/// id, so that a lane generates what the sequence alone would.
#[derive(Debug)]
pub(crate) struct Prefilled<'a> {
    session: Session<'a>,
    sequence: u64,
}

/// What all lanes of a prompt share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkSettings {
    pub(crate) kv_policy: KvPolicy,
    pub(crate) partial_skips: PartialSkips,
    /// Handed to the controllers.
    pub(crate) seed: u64,
    /// Tokens per lane for which room is made at once.
    pub(crate) new_tokens: usize,
}

impl<'a> Prefilled<'a> {
    /// Runs the prompt but its last token. The controller begins with the one sequence, and looks.
    ///
    /// The prompt has been checked.
    pub(crate) fn new<C: Controller + ?Sized>(
        model: &'a Llama,
        controller: &mut C,
        sequence: u64,
        prompt: &[u32],
        settings: ForkSettings,
    ) -> Result<Self, GenerateError> {
        let ForkSettings { kv_policy, partial_skips, seed, new_tokens } = settings;
        let control_from = ControlFrom::LastPromptToken;
        let settings = Settings { control_from, kv_policy, partial_skips, seed, keep_states: false };
        let mut session = Session::begin(model, controller, &[sequence], &[prompt.to_vec()], new_tokens, settings)?;
        session.prefill(controller)?;
        Ok(Self { session, sequence })
    }

    /// Generates in every lane, each with a sampling of its own. The controller is not begun again.
    pub(crate) fn generate<C: Controller>(
        &self,
        controller: C,
        lanes: &[u64],
        samplings: Vec<Sampling>,
        options: GenerateOptions<'a>,
    ) -> Generation<'a, C> {
        let draw = |sampling| Draw { sampling, sequence: self.sequence };
        let draws = samplings.into_iter().map(draw).collect();
        Generation::new(controller, self.session.fork(lanes), draws, options)
    }

    /// Steps every lane through the same continuation. The controller is not begun again.
    pub(crate) fn score<C: Controller + ?Sized>(
        &self,
        controller: &mut C,
        lanes: &[u64],
        continuation: &[u32],
    ) -> Result<Scores, GenerateError> {
        force(self.session.fork(lanes), controller, &vec![continuation; lanes.len()], false)
    }
}
