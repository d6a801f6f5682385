//! Generation as an iterator over token events.

use super::session::{PassOrder, Session, SessionOptions};
use super::{Completion, GenerateError, GenerateOptions, TokenEvent, prompt};
use crate::control::Controller;
use crate::report::RunReport;
use dynlayer_model::Llama;
use std::collections::VecDeque;

/// Generates a continuation of every prompt while `controller` decides which layers run.
///
/// Returns an iterator and computes nothing yet: the prompts run one after the other, and then each step of the iterator
/// runs one pass, or one round of speculation, for all live sequences. Sequences that stop leave the batch. Dropping the iterator ends the generation.
/// A [`Session`] does the same for sequences that come and go.
///
/// # Errors
/// [`GenerateError`], if a prompt is empty, too long or holds unknown tokens, if the options contradict each other, or
/// if the controller refuses the model or a prompt.
pub fn generate<'a, C: Controller>(
    model: &'a Llama,
    controller: C,
    prompts: &[Vec<u32>],
    options: GenerateOptions<'a>,
) -> Result<Generation<'a, C>, GenerateError> {
    prompt::check(model, prompts, &options)?;
    let ids = prompt::ids(prompts.len(), &options.sequence_ids);
    let settings = SessionOptions {
        run: options.run,
        tokenizer: options.tokenizer.map(Into::into),
        order: PassOrder::PromptsFirst,
        max_cached_tokens: None,
        speculation: options.speculation,
    };
    let mut session = Session::new(model, controller, settings)?;
    let sequence = options.sequence();
    for (id, prompt) in ids.iter().zip(prompts) {
        session.push(*id, prompt, sequence.clone())?;
    }
    let mut generation = Generation::new(session);
    if options.max_new_tokens == 0 {
        for id in ids {
            generation.release(id);
        }
    }
    Ok(generation)
}

/// A generation in progress: an iterator over [`TokenEvent`]s that ends when every sequence has stopped.
///
/// After an error the iterator yields nothing more. If the controller panics and the panic is caught, the step is
/// half done: the next item is [`GenerateError::Interrupted`], and nothing comes after it. Neither an error nor a panic
/// affects the model or other generations.
#[derive(Debug)]
pub struct Generation<'a, C> {
    session: Session<'a, C>,
    ready: VecDeque<TokenEvent>,
    /// The completions of the sequences that have left, in the order of the prompts.
    completions: Vec<Option<Completion>>,
    failed: bool,
}

impl<'a, C: Controller> Generation<'a, C> {
    /// Runs the sequences of a session to their ends.
    pub(super) fn new(session: Session<'a, C>) -> Self {
        let completions = vec![None; session.report().sequences.len()];
        Self { session, ready: VecDeque::new(), completions, failed: false }
    }

    /// The report of the run so far.
    pub fn report(&self) -> &RunReport {
        self.session.report()
    }

    /// The controller, in its current state.
    pub fn controller(&self) -> &C {
        self.session.controller()
    }

    /// The controller, to be changed between steps.
    pub fn controller_mut(&mut self) -> &mut C {
        self.session.controller_mut()
    }

    /// Runs to the end and returns a completion per sequence, in the order of the prompts, and the report. The
    /// completions include tokens that the iterator has already yielded.
    ///
    /// # Errors
    /// The first error of the run, or [`GenerateError::Interrupted`] if the iterator has already yielded that error.
    pub fn finish(mut self) -> Result<(Vec<Completion>, RunReport), GenerateError> {
        for event in self.by_ref() {
            event?;
        }
        if self.failed {
            return Err(GenerateError::Interrupted);
        }
        Ok((self.completions.into_iter().flatten().collect(), self.session.report().clone()))
    }

    /// Takes a sequence out of the batch.
    fn release(&mut self, id: u64) {
        let index = self.session.report().sequences.iter().position(|sequence| sequence.id == id);
        if let Some(completion) = index.and_then(|index| self.completions.get_mut(index)) {
            *completion = self.session.release(id);
        }
    }
}

impl<C: Controller> Iterator for Generation<'_, C> {
    type Item = Result<TokenEvent, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed && !self.session.is_idle() {
            match self.session.step() {
                Ok(events) => {
                    for event in events.iter().filter(|event| event.stop.is_some()) {
                        self.release(event.sequence);
                    }
                    self.ready.extend(events);
                }
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
