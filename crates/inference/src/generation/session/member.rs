//! The state of one sequence in a session.

use super::SequenceOptions;
use crate::control::{ControlFrom, Phase, Row, RowLogits};
use crate::generation::text::TextStream;
use crate::generation::{Completion, GenerateError, Stop};
use crate::sampling::{Distribution, Place, SamplingError, check_finite, pick, probabilities};
use std::borrow::Cow;
use std::time::Instant;

/// A sequence of a session.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    pub(super) id: u64,
    pub(super) stream: u64,
    pub(super) seed: u64,
    pub(super) options: SequenceOptions,
    /// All tokens: prompt, output, appended turns.
    pub(super) tokens: Vec<u32>,
    /// The number of tokens whose keys and values are in the cache, from the first on.
    pub(super) cached: usize,
    /// The number of tokens before the current turn's output.
    pub(super) prompt: usize,
    /// `true` while the turn goes on.
    pub(super) running: bool,
    /// The index among the report's sequences.
    pub(super) reported: usize,
    /// The number of the session's pass before which the sequence joined, or of its latest prompt chunk.
    pub(super) waits_since: u64,
    /// `None` without a tokenizer.
    pub(super) text: Option<TextStream<'a>>,
    /// The output of the current turn so far.
    pub(super) completion: Completion,
}

/// The part of a sequence that its next pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) phase: Phase,
    /// The end of the tokens to run, which begin at [`Member::cached`].
    pub(super) end: usize,
    /// `true` if the controller decides.
    pub(super) controlled: bool,
    /// `true` if the pass predicts the next token.
    pub(super) predicts: bool,
}

/// The token that follows a pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Next<'a> {
    pub(super) token: u32,
    /// The text stream after the token.
    pub(super) stream: Option<TextStream<'a>>,
    /// The text that the token completes.
    pub(super) text: String,
    pub(super) stop: Option<Stop>,
    /// The token's log-probability, if the options ask for it.
    pub(super) log_probability: Option<f64>,
    /// The likeliest tokens with theirs, if the options ask for them.
    pub(super) likeliest: Vec<(u32, f64)>,
}

impl<'a> Member<'a> {
    /// The part that the next pass runs; `None` if the sequence waits for its next turn.
    pub(super) fn part(&self, control_from: ControlFrom, chunk: usize) -> Option<Part> {
        if !self.running || self.cached >= self.tokens.len() {
            return None;
        }
        let generates = self.options.max_new_tokens > 0;
        let last_alone = control_from == ControlFrom::LastPromptToken && generates;
        let decodes = self.tokens.len() > self.prompt || (last_alone && self.cached + 1 == self.prompt);
        if decodes {
            return Some(Part { phase: Phase::Decode, end: self.cached + 1, controlled: true, predicts: true });
        }
        let end = (self.prompt - usize::from(last_alone)).min((self.cached / chunk + 1) * chunk);
        let controlled = control_from == ControlFrom::All;
        Some(Part { phase: Phase::Prefill, end, controlled, predicts: generates && end == self.prompt })
    }

    /// The row of a pass over this part.
    pub(super) fn row(&self, part: Part) -> Row {
        Row {
            id: self.id,
            stream: self.stream,
            seed: self.seed,
            token: self.tokens[part.end - 1],
            position: part.end - 1,
            generated: self.generated(),
            tokens: part.end - self.cached,
            ends_prompt: part.end == self.prompt,
            asked: part.controlled,
        }
    }

    /// The number of tokens that were generated in the current turn.
    pub(super) fn generated(&self) -> usize {
        self.tokens.len().saturating_sub(self.prompt)
    }

    /// The number of tokens that a running sequence may generate after the next one.
    pub(super) fn left(&self, context: usize) -> usize {
        let new = self.options.max_new_tokens.saturating_sub(self.generated() + 1);
        new.min(context.saturating_sub(self.tokens.len()))
    }

    /// The number of tokens that the sequence may come to hold in the cache.
    pub(super) fn may_hold(&self, context: usize) -> usize {
        self.may_hold_under(&self.options, context)
    }

    /// The same number if the sequence goes on with other options.
    pub(super) fn may_hold_under(&self, options: &SequenceOptions, context: usize) -> usize {
        let left = options.max_new_tokens.saturating_sub(self.completion.tokens.len());
        let more = if self.running { left } else { 0 };
        self.tokens.len().saturating_add(more).min(context)
    }

    /// Chooses the next token from the logits, and finds out if the turn ends with it. Changes nothing.
    pub(super) fn next(&self, logits: RowLogits<'_>, context: usize) -> Result<Next<'a>, GenerateError> {
        self.with_token(self.choose(logits)?, logits, self.text.as_ref(), context)
    }

    /// Finds out if the turn ends with this token, chosen from `logits`, if it is the next one after `text`. Changes nothing.
    pub(super) fn with_token(
        &self,
        token: u32,
        logits: RowLogits<'_>,
        text: Option<&TextStream<'a>>,
        context: usize,
    ) -> Result<Next<'a>, GenerateError> {
        let stop = if self.options.stop_tokens.contains(&token) {
            Some(Stop::Token(token))
        } else if self.generated() + 1 >= self.options.max_new_tokens {
            Some(Stop::MaxNewTokens)
        } else if self.tokens.len() >= context {
            Some(Stop::ContextFull)
        } else {
            None
        };
        let mut stream = text.cloned();
        let (text, stop) = match &mut stream {
            Some(stream) => stream.token(token, stop)?,
            None => (String::new(), stop),
        };
        let mut next = Next { token, stream, text, stop, ..Next::default() };
        if let Some(k) = self.options.log_probabilities {
            let distribution = Distribution::new(logits.read()?);
            next.log_probability = Some(distribution.log_probability(token));
            next.likeliest = distribution.likeliest(k);
        }
        Ok(next)
    }

    /// Chooses the next token from the logits.
    pub(super) fn choose(&self, logits: RowLogits<'_>) -> Result<u32, GenerateError> {
        if !self.needs_logits()
            && let Some(token) = logits.largest()?
        {
            return Ok(token);
        }
        let logits = logits.read()?;
        let choose = || {
            check_finite(logits)?;
            match self.given() {
                Some(given) => Ok(given),
                None => pick(&self.hooked(logits), &self.tokens, &self.options.sampling, self.place()),
            }
        };
        choose().map_err(|source| self.no_choice(source))
    }

    /// The probabilities of the next token, one per token of the vocabulary, if it is drawn.
    pub(super) fn probabilities(&self, logits: RowLogits<'_>) -> Result<Option<Vec<f64>>, GenerateError> {
        if self.given().is_some() || self.options.sampling.temperature <= 0.0 {
            return Ok(None);
        }
        let probabilities = probabilities(&self.hooked(logits.read()?), &self.tokens, &self.options.sampling);
        probabilities.map(Some).map_err(|source| self.no_choice(source))
    }

    /// The place of the next token's draw.
    pub(super) fn place(&self) -> Place {
        Place { seed: self.seed, sequence: self.stream, position: self.tokens.len() }
    }

    /// The error for logits that allow no choice.
    pub(super) fn no_choice(&self, source: SamplingError) -> GenerateError {
        GenerateError::Draw { sequence: self.id, source }
    }

    /// `false` if the next token is the one with the largest of the model's logits, and nothing else is told of them.
    pub(super) fn needs_logits(&self) -> bool {
        let SequenceOptions { sampling, logits_hook, log_probabilities, .. } = &self.options;
        self.given().is_some() || !sampling.takes_likeliest() || logits_hook.is_some() || log_probabilities.is_some()
    }

    /// The next token, if it is given.
    fn given(&self) -> Option<u32> {
        self.options.given.get(self.generated()).copied()
    }

    /// The logits as the hook leaves them.
    fn hooked<'l>(&self, logits: &'l [f32]) -> Cow<'l, [f32]> {
        let mut logits = Cow::Borrowed(logits);
        if let Some(hook) = &self.options.logits_hook {
            hook(&self.tokens, logits.to_mut());
        }
        logits
    }

    /// Ends the turn if its deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), GenerateError> {
        if self.running && self.options.deadline.is_some_and(|deadline| now >= deadline) {
            self.running = false;
            self.completion.stop = Some(Stop::Deadline);
            if let Some(stream) = &mut self.text {
                self.completion.text.push_str(&stream.finish()?.0);
            }
        }
        Ok(())
    }
}
