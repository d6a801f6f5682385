//! The options of a generation.

use super::ControlFrom;
use crate::engine::{KvPolicy, PartialSkips};
use crate::sampling::Sampling;
use dynlayer_model::text::Tokenizer;

/// How to generate.
///
/// ```
/// use dynlayer_inference::{ControlFrom, GenerateOptions};
///
/// let options = GenerateOptions {
///     max_new_tokens: 64,
///     stop_tokens: vec![2],
///     control_from: ControlFrom::LastPromptToken,
///     ..GenerateOptions::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct GenerateOptions<'a> {
    /// Tokens per sequence at most.
    pub max_new_tokens: usize,
    /// Tokens that end a sequence.
    pub stop_tokens: Vec<u32>,
    /// Strings that end a sequence and are left out of its text; they need a [`tokenizer`](Self::tokenizer).
    pub stop_strings: Vec<String>,
    /// Turns tokens into the text of the events; `None` leaves it empty.
    pub tokenizer: Option<&'a Tokenizer>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// From which token on the controller decides.
    pub control_from: ControlFrom,
    /// What later tokens see at skipped layers.
    pub kv_policy: KvPolicy,
    /// What is done where rows of a batch disagree about a layer: a matter of speed only.
    pub partial_skips: PartialSkips,
    /// The sequences' ids; empty for 0, 1, 2, ..
    pub sequence_ids: Vec<u64>,
}

impl Default for GenerateOptions<'_> {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            tokenizer: None,
            sampling: Sampling::default(),
            control_from: ControlFrom::default(),
            kv_policy: KvPolicy::default(),
            partial_skips: PartialSkips::default(),
            sequence_ids: Vec::new(),
        }
    }
}
