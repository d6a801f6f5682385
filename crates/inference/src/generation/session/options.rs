//! Options of a session and of its sequences.

use crate::control::RunSettings;
use crate::generation::{GenerateError, Speculation};
use crate::sampling::Sampling;
use crate::shared::Shared;
use dynlayer_model::text::Tokenizer;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Options of a [`Session`](super::Session).
#[derive(Clone, Debug, Default)]
pub struct SessionOptions<'a> {
    /// The settings of all passes. The seed is that of sequences without a seed of their own.
    pub run: RunSettings,
    /// The tokenizer that decodes the sequences' texts; with `None` the texts are empty.
    pub tokenizer: Option<Shared<'a, Tokenizer>>,
    /// The order of prompt chunks and decode passes.
    pub order: PassOrder,
    /// The largest number of tokens that all sequences together may come to hold in the cache; `None` for no limit. A
    /// sequence counts with its tokens and all that it may still generate. [`Llama::cache_bytes`] tells what a number
    /// of tokens takes.
    ///
    /// [`Llama::cache_bytes`]: dynlayer_model::Llama::cache_bytes
    pub max_cached_tokens: Option<usize>,
    /// `Some` makes the controller draft tokens that the full model checks, so that the output is the full model's. The
    /// session keeps its measurements of times and acceptance when sequences leave.
    pub speculation: Option<Speculation>,
}

/// The order of prompt chunks and decode passes in a session. It affects times, not results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassOrder {
    /// Chunks and decode passes take turns, so that a long prompt does not hold up the sequences that are generating.
    #[default]
    Alternate,
    /// All prompts run first, so that decode passes have as many rows as possible.
    PromptsFirst,
}

/// Options of one sequence in a [`Session`](super::Session).
///
/// ```
/// use dynlayer_inference::SequenceOptions;
/// use dynlayer_inference::sampling::Sampling;
///
/// let options = SequenceOptions {
///     max_new_tokens: 64,
///     sampling: Sampling { temperature: 0.7, ..Sampling::default() },
///     ..SequenceOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct SequenceOptions {
    /// The largest number of tokens to generate per turn. With 0, the prompt runs and nothing is generated.
    pub max_new_tokens: usize,
    /// Tokens that end a turn.
    pub stop_tokens: Vec<u32>,
    /// Strings that end a turn and are left out of its text; they need [`SessionOptions::tokenizer`]. The spelling of a
    /// special token, such as `<|im_end|>`, ends the turn at that token. It cannot be a part of a longer stop string,
    /// because special tokens are not part of the text.
    pub stop_strings: Vec<String>,
    /// The choice of each token from the logits; greedy by default.
    pub sampling: Sampling,
    /// The seed of the sequence's random draws; `None` for the session's, or for a copy that of the original.
    pub seed: Option<u64>,
    /// The number that stands for the sequence in random draws ([`Row::stream`](crate::Row::stream)).
    /// With `None` it is the sequence's id, or for a copy that of the original. Sequences with equal seeds and streams
    /// draw the same numbers.
    pub stream: Option<u64>,
    /// Tokens that are taken instead of drawn ones, in order. After the last of them, tokens are drawn.
    pub given: Vec<u32>,
    /// `Some(k)` reports every token's log-probability, and the `k` likeliest tokens with theirs, of the model's own
    /// distribution.
    pub log_probabilities: Option<usize>,
    /// A function that changes the logits before penalties, filters and the draw.
    pub logits_hook: Option<LogitsHook>,
    /// The time at which the sequence stops, between two passes.
    pub deadline: Option<Instant>,
}

impl Default for SequenceOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            sampling: Sampling::default(),
            seed: None,
            stream: None,
            given: Vec::new(),
            log_probabilities: None,
            logits_hook: None,
            deadline: None,
        }
    }
}

impl SequenceOptions {
    /// Refuses options that no sequence can run with.
    pub(in crate::generation) fn check(&self, tokenizer: Option<&Tokenizer>) -> Result<(), GenerateError> {
        for (index, stop) in self.stop_strings.iter().enumerate() {
            if stop.is_empty() {
                return Err(GenerateError::EmptyStopString { index });
            }
            let tokenizer = tokenizer.ok_or(GenerateError::StopStringsWithoutTokenizer)?;
            let is_special = tokenizer.token_to_id(stop).is_some_and(|id| tokenizer.is_special(id));
            if let Some(token) = tokenizer.special_token_in(stop).filter(|_| !is_special) {
                return Err(GenerateError::SpecialInStopString { index, token });
            }
        }
        Ok(self.sampling.validate()?)
    }
}

impl fmt::Debug for SequenceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequenceOptions")
            .field("max_new_tokens", &self.max_new_tokens)
            .field("stop_tokens", &self.stop_tokens)
            .field("stop_strings", &self.stop_strings)
            .field("sampling", &self.sampling)
            .field("seed", &self.seed)
            .field("stream", &self.stream)
            .field("given", &self.given)
            .field("log_probabilities", &self.log_probabilities)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A function that changes a sequence's logits before a token is chosen. It gets the sequence's tokens and the logits,
/// one per token of the vocabulary, and must be a function of them alone for the session's promises to hold.
///
/// ```
/// use dynlayer_inference::LogitsHook;
/// use std::sync::Arc;
///
/// let never_17: LogitsHook = Arc::new(|_tokens, logits| logits[17] = f32::NEG_INFINITY);
/// # let _ = never_17;
/// ```
pub type LogitsHook = Arc<dyn Fn(&[u32], &mut [f32]) + Send + Sync>;
