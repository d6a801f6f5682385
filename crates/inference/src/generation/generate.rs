//! The generation itself: an iterator over token events.

use super::prompt::{self, Padded};
use super::text::TextStream;
use super::{ControlFrom, GenerateError, GenerateOptions, Stop, TokenEvent};
use crate::control::{Batch, Controller, Phase, Row};
use crate::engine::{self, PassInput};
use crate::report::{Route, RunReport, SequenceReport};
use crate::sampling::pick;
use burn::tensor::Tensor;
use dynlayer_model::{KvCache, Llama};
use std::collections::VecDeque;
use std::time::Instant;

/// Generates a continuation of every prompt while `controller` decides which layers run.
///
/// Nothing is computed yet: the result is an iterator, and each step runs one pass for all live sequences. Sequences
/// that stop leave the batch. Dropping the iterator ends the generation.
///
/// # Errors
/// If a prompt is empty, too long or holds unknown tokens, if the options contradict each other, or if the controller
/// refuses the batch. See [`GenerateError`].
pub fn generate<'a, C: Controller>(
    model: &'a Llama,
    mut controller: C,
    prompts: &[Vec<u32>],
    options: GenerateOptions<'a>,
) -> Result<Generation<'a, C>, GenerateError> {
    prompt::check(model, prompts, &options)?;
    let ids = match options.sequence_ids.as_slice() {
        [] => (0..prompts.len() as u64).collect(),
        ids => ids.to_vec(),
    };
    controller.begin(&Batch::new(model, &ids, prompts, options.sampling.seed))?;

    let padded = prompt::pad(prompts);
    let width = padded.tokens.first().map_or(0, Vec::len);
    let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
    let new_tokens = options.max_new_tokens.min(model.config().max_positions - shortest + 1);
    let report = RunReport {
        n_layers: model.layers().len(),
        control_from: options.control_from,
        kv_policy: options.kv_policy,
        sequences: ids
            .iter()
            .zip(prompts)
            .map(|(id, prompt)| SequenceReport { id: *id, prompt_tokens: prompt.len() as u64, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let live = ids.iter().zip(prompts).zip(&padded.padding).enumerate().map(|(index, ((id, prompt), padding))| Live {
        index,
        row: Row { id: *id, position: prompt.len() - 1, generated: 0 },
        padding: *padding,
        seen: prompt.clone(),
        text: options.tokenizer.map(|tokenizer| TextStream::new(tokenizer, &options.stop_strings)),
    });
    Ok(Generation {
        model,
        controller,
        live: if new_tokens == 0 { Vec::new() } else { live.collect() },
        // The last token is never fed back, so it needs no slot.
        cache: model.cache(prompts.len(), width + new_tokens.saturating_sub(1)),
        prompts: Some(padded),
        ready: VecDeque::new(),
        report,
        options,
    })
}

/// A generation under way: an iterator over [`TokenEvent`]s, which ends when every sequence has stopped.
///
/// After an error it yields nothing more.
#[derive(Debug)]
pub struct Generation<'a, C> {
    model: &'a Llama,
    controller: C,
    options: GenerateOptions<'a>,
    cache: KvCache,
    live: Vec<Live<'a>>,
    /// Until the first pass.
    prompts: Option<Padded>,
    ready: VecDeque<TokenEvent>,
    report: RunReport,
}

/// A sequence that has not stopped.
#[derive(Debug)]
struct Live<'a> {
    /// Into the report's sequences.
    index: usize,
    row: Row,
    padding: usize,
    /// Prompt and output.
    seen: Vec<u32>,
    text: Option<TextStream<'a>>,
}

/// A sequence that has run to its end.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The sequence's id.
    pub sequence: u64,
    /// The generated tokens, a stop token included.
    pub tokens: Vec<u32>,
    /// One per token: what ran in the pass that produced it.
    pub routes: Vec<Route>,
    /// The text, without special tokens and stop strings; empty without a tokenizer.
    pub text: String,
    /// Why it ended; `None` if no token was asked for.
    pub stop: Option<Stop>,
}

impl<C: Controller> Generation<'_, C> {
    /// What has been done so far.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// The controller, with whatever it has learned.
    pub fn controller(&self) -> &C {
        &self.controller
    }

    /// Runs to the end: what every sequence generated, in the order of the prompts, and the report.
    ///
    /// # Errors
    /// The first error of the run.
    pub fn finish(mut self) -> Result<(Vec<Completion>, RunReport), GenerateError> {
        let empty = |s: &SequenceReport| Completion {
            sequence: s.id,
            tokens: Vec::new(),
            routes: Vec::new(),
            text: String::new(),
            stop: None,
        };
        let mut completions: Vec<Completion> = self.report.sequences.iter().map(empty).collect();
        for event in self.by_ref() {
            let event = event?;
            let Some(c) = completions.iter_mut().find(|c| c.sequence == event.sequence) else { continue };
            c.tokens.push(event.token);
            c.routes.push(event.route);
            c.text.push_str(&event.text);
            c.stop = event.stop;
        }
        Ok((completions, self.report))
    }

    /// One pass and what it takes to choose a token per row.
    fn step(&mut self) -> Result<(), GenerateError> {
        match self.prompts.take() {
            Some(padded) => self.prompt(&padded),
            None => {
                let last: Vec<Vec<u32>> =
                    self.live.iter().map(|live| live.seen[live.seen.len() - 1..].to_vec()).collect();
                let positions: Vec<Vec<usize>> = self.live.iter().map(|live| vec![live.row.position]).collect();
                self.pass(&last, &positions, Phase::Decode, true, true)
            }
        }
    }

    /// The prompts' pass, or two where the last prompt token is controlled and those before it are not.
    fn prompt(&mut self, padded: &Padded) -> Result<(), GenerateError> {
        let Padded { tokens, positions, .. } = padded;
        if self.options.control_from != ControlFrom::LastPromptToken {
            let controlled = self.options.control_from == ControlFrom::All;
            return self.pass(tokens, positions, Phase::Prefill, controlled, true);
        }
        let last = tokens.first().map_or(0, Vec::len) - 1;
        if last > 0 {
            let (head, places) = (columns(tokens, 0..last), columns(positions, 0..last));
            for live in &mut self.live {
                live.row.position = live.row.position.saturating_sub(1);
            }
            self.pass(&head, &places, Phase::Prefill, false, false)?;
            for (live, places) in self.live.iter_mut().zip(positions) {
                live.row.position = places[last];
            }
        }
        self.pass(&columns(tokens, last..last + 1), &columns(positions, last..last + 1), Phase::Decode, true, true)
    }

    /// One pass over equally long rows; chooses a token for each if `choose`.
    fn pass(
        &mut self,
        tokens: &[Vec<u32>],
        positions: &[Vec<usize>],
        phase: Phase,
        controlled: bool,
        choose: bool,
    ) -> Result<(), GenerateError> {
        let started = Instant::now();
        let padding: Vec<usize> = self.live.iter().map(|live| live.padding).collect();
        let frame = self.model.frame(&self.cache, positions, &padding);
        let of_pass: Vec<usize> =
            padding.iter().map(|pad| pad.saturating_sub(frame.start()).min(frame.tokens())).collect();
        let rows: Vec<Row> = self.live.iter().map(|live| live.row.clone()).collect();
        let views: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let input = PassInput {
            model: self.model,
            tokens: self.model.tokens(&views),
            frame: &frame,
            rows: &rows,
            padding: &of_pass,
            phase,
            controlled,
            kv_policy: self.options.kv_policy,
        };
        let pass = engine::run(input, &mut self.controller, &mut self.cache, self.report.phase_mut(phase))?;
        if phase == Phase::Decode {
            for (live, route) in self.live.iter().zip(&pass.routes) {
                self.report.sequences[live.index].count_pass(route);
            }
        }
        if choose {
            self.report.phase_mut(phase).count_head_products(rows.len());
            self.choose(pass.hidden.narrow(1, frame.tokens() - 1, 1), &pass.routes)?;
        }
        self.report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Chooses a token per row from the last token's state, `[rows, 1, d_model]`, and lets the finished rows go.
    fn choose(&mut self, last: Tensor<3>, routes: &[Route]) -> Result<(), GenerateError> {
        let logits = self.model.logits(last); // [rows, 1, vocab_size]
        let vocab_size = self.model.config().vocab_size;
        let logits = engine::read_logits(&logits)?;
        let mut keep = Vec::new();
        for (i, (live, logits)) in self.live.iter_mut().zip(logits.chunks_exact(vocab_size)).enumerate() {
            let next = live.row.position + 1;
            let token = pick(logits, &live.seen, &self.options.sampling, live.row.id, next)?;
            live.seen.push(token);
            live.row.generated += 1;
            live.row.position = next;
            let mut stop = if self.options.stop_tokens.contains(&token) {
                Some(Stop::Token(token))
            } else if live.row.generated == self.options.max_new_tokens {
                Some(Stop::MaxNewTokens)
            } else if next >= self.model.config().max_positions {
                Some(Stop::ContextFull)
            } else {
                None
            };
            let mut text = String::new();
            if let Some(stream) = &mut live.text {
                let mut found = None;
                if !matches!(stop, Some(Stop::Token(_))) {
                    (text, found) = stream.push(token)?;
                }
                if stop.is_some() && found.is_none() {
                    let (rest, late) = stream.finish()?;
                    text.push_str(&rest);
                    found = late;
                }
                stop = found.map(Stop::String).or(stop);
            }
            self.report.sequences[live.index].generated_tokens += 1;
            if stop.is_none() {
                keep.push(i);
            }
            self.ready.push_back(TokenEvent { sequence: live.row.id, token, route: routes[i].clone(), text, stop });
        }
        if keep.len() < self.live.len() {
            if !keep.is_empty() {
                self.cache.select_rows(&keep);
            }
            let mut i = 0;
            self.live.retain(|_| {
                i += 1;
                keep.binary_search(&(i - 1)).is_ok()
            });
        }
        Ok(())
    }
}

impl<C: Controller> Iterator for Generation<'_, C> {
    type Item = Result<TokenEvent, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.live.is_empty() {
            if let Err(error) = self.step() {
                self.live.clear();
                self.ready.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

fn columns<T: Clone>(rows: &[Vec<T>], range: std::ops::Range<usize>) -> Vec<Vec<T>> {
    rows.iter().map(|row| row[range.clone()].to_vec()).collect()
}
