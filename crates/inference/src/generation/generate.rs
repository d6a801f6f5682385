//! Generation as an iterator over token events.

use super::session::{Session, Settings, Step};
use super::text::TextStream;
use super::{GenerateError, GenerateOptions, Stop, TokenEvent, prompt};
use crate::control::{Controller, Route};
use crate::report::{RunReport, SequenceReport};
use crate::sampling::{Place, Sampling, pick};
use dynlayer_model::Llama;
use std::collections::VecDeque;
use std::time::Instant;

/// Generates a continuation of every prompt while `controller` decides which layers run.
///
/// Returns an iterator and computes nothing yet: each step of the iterator runs one pass for all live sequences.
/// Sequences that stop leave the batch. Dropping the iterator ends the generation.
///
/// # Errors
/// [`GenerateError`], if a prompt is empty, too long or holds unknown tokens, if the options contradict each other, or
/// if the controller refuses the batch.
pub fn generate<'a, C: Controller>(
    model: &'a Llama,
    mut controller: C,
    prompts: &[Vec<u32>],
    options: GenerateOptions<'a>,
) -> Result<Generation<'a, C>, GenerateError> {
    prompt::check(model, prompts, &options)?;
    let ids = prompt::ids(prompts.len(), &options.sequence_ids);
    let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
    let new_tokens = options.max_new_tokens.min(model.config().max_positions - shortest + 1);
    let settings = Settings { run: options.run, keep_states: false };
    // The last generated token is never an input, so it needs no slot in the cache.
    let slots = new_tokens.saturating_sub(1);
    let mut session = Session::begin(model, &mut controller, &ids, prompts, slots, settings)?;
    if new_tokens == 0 {
        session.keep(&[]);
    }
    let draw = |id: &u64| Draw { sampling: options.sampling.clone(), seed: options.run.seed, sequence: *id };
    let draws = ids.iter().map(draw).collect();
    Ok(Generation::new(controller, session, draws, options))
}

/// The sampling of one sequence.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    pub(super) sampling: Sampling,
    pub(super) seed: u64,
    /// The sequence id that the draws depend on.
    pub(super) sequence: u64,
}

/// A generation in progress: an iterator over [`TokenEvent`]s that ends when every sequence has stopped.
///
/// After an error the iterator yields nothing more. If the controller panics and the panic is caught, the step is
/// half done: the next item is [`GenerateError::Interrupted`], and nothing comes after it. Neither an error nor a panic
/// affects the model or other generations.
#[derive(Debug)]
pub struct Generation<'a, C> {
    controller: C,
    options: GenerateOptions<'a>,
    session: Session<'a>,
    /// The sampling of each sequence, including stopped ones.
    draws: Vec<Draw>,
    /// The text stream of each sequence, including stopped ones; `None` without a tokenizer.
    texts: Vec<Option<TextStream<'a>>>,
    ready: VecDeque<TokenEvent>,
    progress: Progress,
}

/// The progress of a generation. A step that panics leaves `Stepping` behind, after which no other step may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Between,
    Stepping,
    Failed,
}

/// The result of a sequence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The sequence's id.
    pub sequence: u64,
    /// The generated tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// The route of the pass that produced each token.
    pub routes: Vec<Route>,
    /// The text, without special tokens and stop strings; empty without a tokenizer.
    pub text: String,
    /// The reason why the sequence ended; `None` if no token was requested, or if the iterator yielded the last token
    /// before [`Generation::finish`].
    pub stop: Option<Stop>,
}

impl<'a, C: Controller> Generation<'a, C> {
    pub(super) fn new(controller: C, session: Session<'a>, draws: Vec<Draw>, options: GenerateOptions<'a>) -> Self {
        let stream = |tokenizer| TextStream::new(tokenizer, &options.stop_strings);
        let texts = draws.iter().map(|_| options.tokenizer.map(stream)).collect();
        Self { controller, session, draws, texts, ready: VecDeque::new(), progress: Progress::Between, options }
    }

    /// The report of the run so far.
    pub fn report(&self) -> &RunReport {
        &self.session.report
    }

    /// The controller, in its current state.
    pub fn controller(&self) -> &C {
        &self.controller
    }

    /// Runs to the end and returns a completion per sequence, in the order of the prompts, and the report. The
    /// completions do not include tokens that the iterator has already yielded.
    ///
    /// # Errors
    /// The first error of the run, or [`GenerateError::Interrupted`] if the iterator has already yielded that error.
    pub fn finish(mut self) -> Result<(Vec<Completion>, RunReport), GenerateError> {
        let empty = |s: &SequenceReport| Completion {
            sequence: s.id,
            tokens: Vec::new(),
            routes: Vec::new(),
            text: String::new(),
            stop: None,
        };
        let mut completions: Vec<Completion> = self.session.report.sequences.iter().map(empty).collect();
        for event in self.by_ref() {
            let event = event?;
            let Some(c) = completions.iter_mut().find(|c| c.sequence == event.sequence) else { continue };
            c.tokens.push(event.token);
            c.routes.push(event.route);
            c.text.push_str(&event.text);
            c.stop = event.stop;
        }
        if self.progress == Progress::Failed {
            return Err(GenerateError::Interrupted);
        }
        Ok((completions, self.session.report))
    }

    /// Ends the generation with this error.
    fn fail(&mut self, error: GenerateError) -> GenerateError {
        self.session.keep(&[]);
        self.ready.clear();
        self.progress = Progress::Failed;
        error
    }

    /// Runs one step, chooses a token for every row, and removes the rows that are finished.
    fn step(&mut self) -> Result<(), GenerateError> {
        let Step { logits, routes, phase, .. } = self.session.step(&mut self.controller)?;
        let started = Instant::now();
        let config = self.session.model().config();
        let mut keep = Vec::new();
        for (row, (logits, route)) in logits.chunks_exact(config.vocab_size).zip(routes).enumerate() {
            let live = &self.session.live()[row];
            let (index, sequence, next) = (live.index, live.row.id, live.row.position + 1);
            let draw = &self.draws[index];
            let place = Place { seed: draw.seed, sequence: draw.sequence, position: next };
            let token = pick(logits, &live.seen, &draw.sampling, place)?;
            let stop = if self.options.stop_tokens.contains(&token) {
                Some(Stop::Token(token))
            } else if live.row.generated + 1 == self.options.max_new_tokens {
                Some(Stop::MaxNewTokens)
            } else if next >= config.max_positions {
                Some(Stop::ContextFull)
            } else {
                None
            };
            self.session.push(row, token);
            let (text, stop) = self.text(index, token, stop)?;
            if stop.is_none() {
                keep.push(row);
            }
            self.ready.push_back(TokenEvent { sequence, token, route, text, stop });
        }
        self.session.keep(&keep);
        self.session.report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Returns the text that a token completes, and the reason why the sequence stops after it, stop strings included.
    fn text(&mut self, index: usize, token: u32, stop: Option<Stop>) -> Result<(String, Option<Stop>), GenerateError> {
        let Some(stream) = &mut self.texts[index] else { return Ok((String::new(), stop)) };
        let (mut text, mut found) = (String::new(), None);
        if !matches!(stop, Some(Stop::Token(_))) {
            (text, found) = stream.push(token)?;
        }
        if stop.is_some() && found.is_none() {
            let (rest, late) = stream.finish()?;
            text.push_str(&rest);
            found = late;
        }
        Ok((text, found.map(Stop::String).or(stop)))
    }
}

impl<C: Controller> Iterator for Generation<'_, C> {
    type Item = Result<TokenEvent, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.progress == Progress::Stepping {
            return Some(Err(self.fail(GenerateError::Interrupted)));
        }
        while self.ready.is_empty() && !self.session.live().is_empty() {
            self.progress = Progress::Stepping;
            if let Err(error) = self.step() {
                return Some(Err(self.fail(error)));
            }
            self.progress = Progress::Between;
        }
        self.ready.pop_front().map(Ok)
    }
}
