//! Given text instead of generated text: the same passes, with the tokens forced.

use super::{ControlFrom, GenerateError, GenerateOptions, prompt};
use crate::control::{Batch, Controller, Phase, Row};
use crate::engine::{self, KvPolicy, PassInput};
use crate::report::{Route, RunReport, SequenceReport};
use crate::sampling::check_finite;
use dynlayer_model::{KvCache, Llama};
use std::time::Instant;

/// How to score.
#[derive(Clone, Debug, Default)]
pub struct ScoreOptions {
    /// From which token on the controller decides.
    pub control_from: ControlFrom,
    /// What later tokens see at skipped layers.
    pub kv_policy: KvPolicy,
    /// Whether every token's logits are kept: `vocab_size` numbers each.
    pub keep_logits: bool,
    /// Handed to the controller, for random ones.
    pub seed: u64,
}

/// A continuation, scored token by token.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// One entry per token of the continuation.
    pub tokens: Vec<ScoredToken>,
    /// What was done.
    pub report: RunReport,
}

/// One token of a continuation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoredToken {
    /// The token.
    pub token: u32,
    /// Its natural log-probability after what stands before it.
    pub log_probability: f64,
    /// What ran in the pass that predicted it.
    pub route: Route,
    /// The logits of that pass, `[vocab_size]`; empty unless they were asked for.
    pub logits: Vec<f32>,
}

impl Score {
    /// Mean negative log-likelihood per token, in nats; `None` for an empty continuation.
    pub fn mean_nll(&self) -> Option<f64> {
        let sum: f64 = self.tokens.iter().map(|token| -token.log_probability).sum();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 tokens")]
        (!self.tokens.is_empty()).then(|| sum / self.tokens.len() as f64)
    }
}

/// Steps through `continuation` after `prompt` exactly as decoding would, one pass per token, under a controller.
///
/// # Errors
/// As [`generate`](super::generate), and [`GenerateError::PromptTooLong`] if both together exceed the model's context.
pub fn score<C: Controller>(
    model: &Llama,
    mut controller: C,
    prompt: &[u32],
    continuation: &[u32],
    options: &ScoreOptions,
) -> Result<Score, GenerateError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt { prompt: 0 });
    }
    let text = [prompt, continuation].concat();
    prompt::check(model, std::slice::from_ref(&text), &GenerateOptions::default())?;
    controller.begin(&Batch::new(model, &[0], &[prompt.to_vec()], options.seed))?;

    // The passes, as ranges of `text`: the prompt in one or two, then token by token.
    let last = prompt.len() - 1;
    let mut passes = match options.control_from {
        ControlFrom::LastPromptToken if last > 0 => vec![(0..last, Phase::Prefill), (last..last + 1, Phase::Decode)],
        ControlFrom::LastPromptToken => vec![(0..1, Phase::Decode)],
        ControlFrom::FirstGenerated | ControlFrom::All => vec![(0..prompt.len(), Phase::Prefill)],
    };
    passes.extend((prompt.len()..text.len().saturating_sub(1)).map(|at| (at..at + 1, Phase::Decode)));

    let mut cache = model.cache(1, text.len());
    let sequence = SequenceReport { prompt_tokens: prompt.len() as u64, ..SequenceReport::default() };
    let mut report = RunReport {
        n_layers: model.layers().len(),
        control_from: options.control_from,
        kv_policy: options.kv_policy,
        sequences: vec![sequence],
        ..RunReport::default()
    };
    let mut tokens = Vec::with_capacity(continuation.len());
    for (range, phase) in passes {
        let row = Row { id: 0, position: range.end - 1, generated: range.end.saturating_sub(prompt.len()) };
        let asks = phase == Phase::Decode || options.control_from == ControlFrom::All;
        let next = text.get(range.end).filter(|_| range.end >= prompt.len());
        let target = next.map(|token| (*token, options.keep_logits));
        let of_pass = OfPass { tokens: &text[range], row, phase, asks, target };
        tokens.extend(pass(model, &mut controller, of_pass, &mut cache, &mut report)?);
    }
    Ok(Score { tokens, report })
}

/// What one pass of a text is about.
struct OfPass<'a> {
    tokens: &'a [u32],
    row: Row,
    phase: Phase,
    /// Whether the controller is asked.
    asks: bool,
    /// The token that comes next, if it is to be scored, and whether its logits are kept.
    target: Option<(u32, bool)>,
}

/// One pass, and the score of the token that comes next, if there is one.
fn pass<C: Controller>(
    model: &Llama,
    controller: &mut C,
    of_pass: OfPass<'_>,
    cache: &mut KvCache,
    report: &mut RunReport,
) -> Result<Option<ScoredToken>, GenerateError> {
    let OfPass { tokens, row, phase, asks, target } = of_pass;
    let started = Instant::now();
    let positions: Vec<usize> = (row.position + 1 - tokens.len()..=row.position).collect();
    let frame = model.frame(cache, &[positions], &[0]);
    let kv_policy = report.kv_policy;
    let input = PassInput {
        model,
        tokens: model.tokens(&[tokens]),
        frame: &frame,
        rows: &[row],
        padding: &[0],
        phase,
        controlled: asks,
        kv_policy,
    };
    let pass = engine::run(input, controller, cache, report.phase_mut(phase))?;
    let route = pass.routes.into_iter().next().unwrap_or_default();
    if phase == Phase::Decode {
        for sequence in &mut report.sequences {
            sequence.count_pass(&route);
        }
    }
    let scored = match target {
        None => None,
        Some((token, keep)) => {
            report.phase_mut(phase).count_head_products(1);
            let logits = engine::read_logits(&model.logits(pass.hidden.narrow(1, tokens.len() - 1, 1)))?;
            check_finite(&logits)?;
            let log_probability = f64::from(logits[token as usize]) - logsumexp(&logits);
            Some(ScoredToken { token, log_probability, route, logits: if keep { logits } else { Vec::new() } })
        }
    };
    report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
    Ok(scored)
}

fn logsumexp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|x| (f64::from(*x) - most).exp()).sum::<f64>().ln()
}
