//! Scoring of given text: the same passes as in generation, but the next token is given instead of chosen.

use super::session::{Session, Settings, Step};
use super::{GenerateError, GenerateOptions, prompt};
use crate::control::{Controller, Route, RunSettings};
use crate::report::RunReport;
use crate::sampling::{check_finite, largest};
use crate::tokens::TokenProblem;
use burn::tensor::{Tensor, s};
use dynlayer_model::Llama;
use std::time::Instant;

/// Options of [`score`] and [`score_batch`].
///
/// ```
/// use dynlayer_inference::{ControlFrom, ScoreOptions};
///
/// let mut options = ScoreOptions::default();
/// options.run.control_from = ControlFrom::LastPromptToken;
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScoreOptions {
    /// The settings that generation, scoring and the oracle have in common, including the seed of the controller's
    /// draws.
    pub run: RunSettings,
    /// `true` to keep every token's logits: `vocab_size` numbers each, on the host.
    pub keep_logits: bool,
    /// `true` to keep every token's hidden states: `(n_layers + 1) * d_model` numbers each, on the device.
    pub keep_hidden: bool,
    /// The sequences' ids, one per item; if empty, the ids are 0, 1, 2 and so on.
    pub sequence_ids: Vec<u64>,
}

/// A prompt and a continuation. Scoring measures the probability of each token of the continuation after the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScoreItem {
    /// The prompt, of at least one token.
    pub prompt: Vec<u32>,
    /// The tokens that are scored.
    pub continuation: Vec<u32>,
}

/// A scored batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scores {
    /// One entry per item, in the order of the items.
    pub sequences: Vec<ScoredSequence>,
    /// The report of the run.
    pub report: RunReport,
}

/// A scored continuation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredSequence {
    /// The sequence's id.
    pub id: u64,
    /// One entry per token of the continuation.
    pub tokens: Vec<ScoredToken>,
}

/// One token of a continuation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredToken {
    /// The token.
    pub token: u32,
    /// The natural logarithm of the token's probability, given the tokens before it.
    pub log_probability: f64,
    /// The most probable token at this position, which greedy decoding would choose; the lowest id if several tokens
    /// are equally probable.
    pub likeliest: u32,
    /// The route of the pass that predicted it.
    pub route: Route,
    /// The logits of that pass, `[vocab_size]`; empty unless [`ScoreOptions::keep_logits`] is set.
    pub logits: Vec<f32>,
    /// The states of that pass's last token, `[n_layers + 1, d_model]`: the states entering each layer, and the final
    /// normed state; `None` unless [`ScoreOptions::keep_hidden`] is set.
    pub hidden: Option<Tensor<2>>,
}

impl ScoredSequence {
    /// The mean negative log-likelihood per token, in nats; `None` for an empty continuation.
    pub fn mean_nll(&self) -> Option<f64> {
        let sum: f64 = self.tokens.iter().map(|token| -token.log_probability).sum();
        (!self.tokens.is_empty()).then(|| sum / self.tokens.len() as f64)
    }
}

/// Scores `continuation` after `prompt` under a controller: steps through it exactly as decoding would, one pass per
/// token.
///
/// # Errors
/// Fails as [`generate`](super::generate) does, and with [`GenerateError::Prompt`] if prompt and continuation together
/// exceed the model's context.
pub fn score<C: Controller>(
    model: &Llama,
    controller: C,
    prompt: &[u32],
    continuation: &[u32],
    options: &ScoreOptions,
) -> Result<(ScoredSequence, RunReport), GenerateError> {
    let item = ScoreItem { prompt: prompt.to_vec(), continuation: continuation.to_vec() };
    let Scores { sequences, report } = score_batch(model, controller, &[item], options)?;
    let sequence = sequences.into_iter().next().ok_or(GenerateError::EmptyBatch)?;
    Ok((sequence, report))
}

/// Scores several texts of any lengths as one batch, each as [`score`] would alone.
///
/// # Errors
/// Fails as [`score`] does.
pub fn score_batch<C: Controller>(
    model: &Llama,
    mut controller: C,
    items: &[ScoreItem],
    options: &ScoreOptions,
) -> Result<Scores, GenerateError> {
    if let Some(prompt) = items.iter().position(|item| item.prompt.is_empty()) {
        return Err(GenerateError::Prompt { prompt, problem: TokenProblem::Empty });
    }
    let texts: Vec<Vec<u32>> = items.iter().map(|item| [&item.prompt[..], &item.continuation].concat()).collect();
    let ids = GenerateOptions { sequence_ids: options.sequence_ids.clone(), ..GenerateOptions::default() };
    prompt::check(model, &texts, &ids)?;
    let ids = prompt::ids(items.len(), &options.sequence_ids);
    let prompts: Vec<Vec<u32>> = items.iter().map(|item| item.prompt.clone()).collect();
    let longest = items.iter().map(|item| item.continuation.len()).max().unwrap_or(0);
    let settings = Settings { run: options.run, keep_states: options.keep_hidden };
    let session = Session::begin(model, &mut controller, &ids, &prompts, longest.saturating_sub(1), settings)?;
    let continuations: Vec<&[u32]> = items.iter().map(|item| &item.continuation[..]).collect();
    step_through(session, &mut controller, &continuations, options.keep_logits)
}

/// Steps a session that has just begun through given continuations, one per sequence.
pub(super) fn step_through<C: Controller + ?Sized>(
    mut session: Session<'_>,
    controller: &mut C,
    continuations: &[&[u32]],
    keep_logits: bool,
) -> Result<Scores, GenerateError> {
    let vocab_size = session.model().config().vocab_size;
    let mut sequences: Vec<ScoredSequence> =
        session.report.sequences.iter().map(|s| ScoredSequence { id: s.id, tokens: Vec::new() }).collect();
    // An item without a continuation needs no pass.
    let begin: Vec<usize> = (0..continuations.len()).filter(|row| !continuations[*row].is_empty()).collect();
    session.retain_prompts(&begin);
    while !session.live().is_empty() {
        let Step { logits, routes, states, phase } = session.step(controller)?;
        let started = Instant::now();
        let mut keep = Vec::new();
        for (row, (logits, route)) in logits.chunks_exact(vocab_size).zip(routes).enumerate() {
            let index = session.live()[row].index;
            let (continuation, scored) = (continuations[index], &mut sequences[index].tokens);
            check_finite(logits)?;
            let token = continuation[scored.len()];
            scored.push(ScoredToken {
                token,
                log_probability: f64::from(logits[token as usize]) - logsumexp(logits),
                likeliest: largest(logits).and_then(|token| u32::try_from(token).ok()).unwrap_or_default(),
                route,
                logits: if keep_logits { logits.to_vec() } else { Vec::new() },
                hidden: states.as_ref().map(|states| states.clone().slice(s![row..=row, .., ..]).squeeze_dim::<2>(0)),
            });
            if scored.len() < continuation.len() {
                keep.push(row);
            }
            session.push(row, token);
        }
        session.keep(&keep);
        session.report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
    }
    Ok(Scores { sequences, report: session.report })
}

fn logsumexp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|x| (f64::from(*x) - most).exp()).sum::<f64>().ln()
}
