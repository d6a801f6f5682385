//! Options of a generation.

use super::Speculation;
use super::session::SequenceOptions;
use crate::control::RunSettings;
use crate::sampling::Sampling;
use dynlayer_model::text::Tokenizer;

/// Options of [`generate`](super::generate).
///
/// ```
/// use dynlayer_inference::{ControlFrom, GenerateOptions, RunSettings};
///
/// let options = GenerateOptions {
///     max_new_tokens: 64,
///     stop_tokens: vec![2],
///     run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
///     ..GenerateOptions::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct GenerateOptions<'a> {
    /// The settings that generation, scoring and the oracle have in common, including the seed of all draws.
    pub run: RunSettings,
    /// The largest number of tokens to generate per sequence.
    pub max_new_tokens: usize,
    /// Tokens that end a sequence.
    pub stop_tokens: Vec<u32>,
    /// Strings that end a sequence and are left out of its text; they need a [`tokenizer`](Self::tokenizer). See
    /// [`SequenceOptions::stop_strings`] for special tokens.
    pub stop_strings: Vec<String>,
    /// The tokenizer that decodes the events' text; with `None` the text is empty.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The choice of each token from the logits; greedy by default.
    pub sampling: Sampling,
    /// `Some(k)` reports every token's log-probability, and the `k` likeliest tokens with theirs, of the model's own
    /// distribution.
    pub log_probabilities: Option<usize>,
    /// `Some` makes the controller draft tokens that the full model checks, so that the output is the full model's.
    pub speculation: Option<Speculation>,
    /// The sequences' ids, one per prompt; if empty, the ids are 0, 1, 2 and so on.
    pub sequence_ids: Vec<u64>,
}

impl GenerateOptions<'_> {
    /// The options of each sequence.
    pub(super) fn sequence(&self) -> SequenceOptions {
        SequenceOptions {
            max_new_tokens: self.max_new_tokens,
            stop_tokens: self.stop_tokens.clone(),
            stop_strings: self.stop_strings.clone(),
            sampling: self.sampling.clone(),
            log_probabilities: self.log_probabilities,
            ..SequenceOptions::default()
        }
    }
}

impl Default for GenerateOptions<'_> {
    fn default() -> Self {
        Self {
            run: RunSettings::default(),
            max_new_tokens: 128,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            tokenizer: None,
            sampling: Sampling::default(),
            log_probabilities: None,
            speculation: None,
            sequence_ids: Vec::new(),
        }
    }
}
