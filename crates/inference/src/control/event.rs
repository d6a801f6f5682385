//! The events of a run.

use super::{ControllerError, Outcome, Phase, Row, RunSettings, Verified};
use crate::random;
use dynlayer_model::Llama;
use dynlayer_model::config::LlamaConfig;
use rand::Rng;

/// An event beside the decisions: a run starts, a sequence joins or leaves, a pass begins or has produced tokens.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A run starts: a generation, a scoring, a new session, or a training pass. A controller refuses a model that it
    /// cannot work with, and forgets the sequences of earlier runs.
    Start(&'a Setup<'a>),
    /// One sequence joins, or begins its next turn. What the controller knows about other sequences stays.
    Begin(&'a Sequence<'a>),
    /// A pass begins. Its layers follow.
    Pass(&'a Pass<'a>),
    /// The pass has produced tokens. A pass that only fills the cache, such as a chunk of a long prompt, has no outcome.
    ///
    /// With [speculation](crate::Speculation), the passes that a controller decides about are drafts: then this event has
    /// drafted tokens, and [`Verified`](Self::Verified) those that came out.
    Outcome(&'a Outcome<'a>),
    /// A round of [speculation](crate::Speculation) has checked the drafted tokens. If a draft has read a token that did not
    /// come out, [`Rewind`](Self::Rewind) follows: its position comes again, with another token.
    Verified(&'a Verified<'a>),
    /// A sequence was shortened: its tokens from position `tokens` on no longer exist. What the controller learned from
    /// them must be forgotten, and what it learned from the tokens before must stay.
    ///
    /// The event is sent only if a pass had read one of the dropped tokens.
    Rewind {
        /// The sequence's id.
        id: u64,
        /// The number of tokens that are left.
        tokens: usize,
    },
    /// A sequence has left. Dropping a session does not send this event.
    End {
        /// The sequence's id.
        id: u64,
    },
}

impl Event<'_> {
    /// Passes the event on to a controller of only some sequences, as that should see it: `has` returns `true` for the
    /// ids of these sequences, and `on` is called unless the event is about others only. [`Event::Start`] is about all.
    ///
    /// # Errors
    /// The error of `on`.
    pub fn part(
        &self,
        has: impl Fn(u64) -> bool,
        on: impl FnOnce(&Event<'_>) -> Result<(), ControllerError>,
    ) -> Result<(), ControllerError> {
        match self {
            Self::Start(_) => on(self),
            Self::Begin(Sequence { id, .. }) | Self::Rewind { id, .. } | Self::End { id } if has(*id) => on(self),
            Self::Begin(_) | Self::Rewind { .. } | Self::End { .. } => Ok(()),
            Self::Pass(pass) => {
                let rows: Vec<Row> = pass.rows.iter().filter(|row| has(row.id)).cloned().collect();
                if rows.is_empty() { Ok(()) } else { on(&Event::Pass(&Pass { rows: &rows, ..**pass })) }
            }
            Self::Outcome(outcome) => {
                let part = outcome.part(has);
                if part.rows().is_empty() { Ok(()) } else { on(&Event::Outcome(&part)) }
            }
            Self::Verified(verified) => {
                let part = verified.part(has);
                if part.rows().is_empty() { Ok(()) } else { on(&Event::Verified(&part)) }
            }
        }
    }
}

/// The model and the settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) settings: RunSettings,
}

impl<'a> Setup<'a> {
    /// The number of layers of the model.
    pub fn n_layers(&self) -> usize {
        self.model.layers().len()
    }

    /// The model's configuration.
    pub fn config(&self) -> &'a LlamaConfig {
        self.model.config()
    }

    /// The settings of the run.
    pub fn settings(&self) -> RunSettings {
        self.settings
    }

    /// Checks that the model has a layer with this index.
    ///
    /// # Errors
    /// [`ControllerError::LayerOutOfRange`] if the model has no such layer.
    pub fn check_layer(&self, layer: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if layer < n_layers { Ok(()) } else { Err(ControllerError::LayerOutOfRange { layer, n_layers }) }
    }

    /// Checks that `budget` is at least `least` and at most the model's number of layers.
    ///
    /// # Errors
    /// [`ControllerError::Budget`] if the budget is out of this range.
    pub fn check_budget(&self, budget: usize, least: usize) -> Result<(), ControllerError> {
        let n_layers = self.n_layers();
        if (least..=n_layers).contains(&budget) {
            Ok(())
        } else {
            Err(ControllerError::Budget { budget, least, n_layers })
        }
    }
}

/// A sequence that joins, or begins its next turn.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sequence<'a> {
    /// The model and the settings of the run.
    pub setup: Setup<'a>,
    /// The sequence's id.
    pub id: u64,
    /// The number that stands for the sequence in random draws, [`Row::stream`].
    pub stream: u64,
    /// The seed of the sequence's random draws.
    pub seed: u64,
    /// All tokens of the sequence so far: the prompt, and in later turns also what was generated and appended.
    pub tokens: &'a [u32],
    /// The number of these tokens that have run already, from the first on.
    pub cached: usize,
    /// `true` if the sequence joins, `false` if it begins its next turn.
    pub joins: bool,
    /// The id of the sequence that this one is a copy of, if it joins as a copy.
    pub copy_of: Option<u64>,
}

impl Sequence<'_> {
    /// Draws a number from 0 to 1, 1 excluded, that depends only on the sequence's seed and stream, the index and the
    /// purpose, like [`Row::draw`]. Every turn, and a copy of the sequence, draws the same numbers.
    pub fn draw(&self, purpose: &[u8; 8], index: usize) -> f64 {
        random::at(*purpose, self.seed, [self.stream, u64::MAX, index as u64]).random()
    }
}

/// A pass that begins.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    pub(crate) phase: Phase,
    pub(crate) controlled: bool,
    pub(crate) rows: &'a [Row],
}

impl<'a> Pass<'a> {
    /// The kind of the pass.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// `true` if the controller decides in this pass, `false` if it only observes.
    pub fn controlled(&self) -> bool {
        self.controlled
    }

    /// The rows of the pass.
    pub fn rows(&self) -> &'a [Row] {
        self.rows
    }
}
