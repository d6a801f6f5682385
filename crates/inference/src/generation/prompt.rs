//! Prompts, checked and laid out for a batch.

use super::{GenerateError, GenerateOptions};
use dynlayer_model::Llama;
use std::collections::HashSet;

/// Refuses what the model cannot run, before anything is computed.
pub(crate) fn check(model: &Llama, prompts: &[Vec<u32>], options: &GenerateOptions<'_>) -> Result<(), GenerateError> {
    let config = model.config();
    if prompts.is_empty() {
        return Err(GenerateError::EmptyBatch);
    }
    for (prompt, ids) in prompts.iter().enumerate() {
        if ids.is_empty() {
            return Err(GenerateError::EmptyPrompt { prompt });
        }
        let (tokens, context) = (ids.len(), config.max_positions);
        if tokens > context {
            return Err(GenerateError::PromptTooLong { prompt, tokens, context });
        }
        let vocab_size = config.vocab_size;
        if let Some(&token) = ids.iter().find(|id| usize::try_from(**id).map_or(true, |id| id >= vocab_size)) {
            return Err(GenerateError::TokenOutOfRange { prompt, token, vocab_size });
        }
    }
    check_ids(prompts.len(), &options.sequence_ids)?;
    if let Some(index) = options.stop_strings.iter().position(String::is_empty) {
        return Err(GenerateError::EmptyStopString { index });
    }
    if !options.stop_strings.is_empty() && options.tokenizer.is_none() {
        return Err(GenerateError::StopStringsWithoutTokenizer);
    }
    Ok(options.sampling.validate()?)
}

fn check_ids(prompts: usize, ids: &[u64]) -> Result<(), GenerateError> {
    let distinct: HashSet<u64> = ids.iter().copied().collect();
    if ids.is_empty() || (distinct.len(), ids.len()) == (prompts, prompts) {
        return Ok(());
    }
    Err(GenerateError::SequenceIds { found: distinct.len(), prompts })
}

/// The sequences' ids: those given, or the prompts' indices.
pub(super) fn ids(prompts: usize, given: &[u64]) -> Vec<u64> {
    if given.is_empty() { (0..prompts as u64).collect() } else { given.to_vec() }
}

/// Prompts padded on the left to the width of the longest.
#[derive(Clone, Debug)]
pub(super) struct Padded {
    pub(super) tokens: Vec<Vec<u32>>,
    pub(super) positions: Vec<Vec<usize>>,
    pub(super) padding: Vec<usize>,
}

impl Padded {
    /// Keeps the given rows. Their padding stays, even if the longest is not among them.
    pub(super) fn select(&mut self, rows: &[usize]) {
        self.tokens = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        self.positions = rows.iter().map(|row| self.positions[*row].clone()).collect();
        self.padding = rows.iter().map(|row| self.padding[*row]).collect();
    }
}

/// Pads on the left, so that the last tokens of all prompts share a slot. Padding holds token 0 at position 0, which no
/// real token looks at.
pub(super) fn pad(prompts: &[Vec<u32>]) -> Padded {
    let width = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let padding: Vec<usize> = prompts.iter().map(|prompt| width - prompt.len()).collect();
    let tokens = prompts.iter().zip(&padding);
    let tokens = tokens.map(|(prompt, pad)| std::iter::repeat_n(0, *pad).chain(prompt.iter().copied()).collect());
    let positions = padding.iter().map(|pad| (0..width).map(|slot| slot.saturating_sub(*pad)).collect());
    Padded { tokens: tokens.collect(), positions: positions.collect(), padding: padding.clone() }
}
