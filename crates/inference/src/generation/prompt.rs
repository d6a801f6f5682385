//! Checks of prompts, and their layout as a batch.

use super::{GenerateError, GenerateOptions};
use crate::tokens;
use dynlayer_model::Llama;
use std::collections::HashSet;

/// Refuses prompts and options that the model cannot run, before anything is computed.
pub(crate) fn check(model: &Llama, prompts: &[Vec<u32>], options: &GenerateOptions<'_>) -> Result<(), GenerateError> {
    if prompts.is_empty() {
        return Err(GenerateError::EmptyBatch);
    }
    for (prompt, ids) in prompts.iter().enumerate() {
        tokens::check(model, ids).map_err(|problem| GenerateError::Prompt { prompt, problem })?;
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

/// The sequences' ids: the given ones, or the prompts' indices if none are given.
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
    /// Keeps the given rows. Their padding does not change, even if the longest row is removed.
    pub(super) fn select(&mut self, rows: &[usize]) {
        self.tokens = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        self.positions = rows.iter().map(|row| self.positions[*row].clone()).collect();
        self.padding = rows.iter().map(|row| self.padding[*row]).collect();
    }
}

/// Pads prompts on the left, so that the last tokens of all prompts share a slot. Padding is token 0 at position 0,
/// to which no real token attends.
pub(super) fn pad(prompts: &[Vec<u32>]) -> Padded {
    let width = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let padding: Vec<usize> = prompts.iter().map(|prompt| width - prompt.len()).collect();
    let tokens = prompts.iter().zip(&padding);
    let tokens = tokens.map(|(prompt, pad)| std::iter::repeat_n(0, *pad).chain(prompt.iter().copied()).collect());
    let positions = padding.iter().map(|pad| (0..width).map(|slot| slot.saturating_sub(*pad)).collect());
    Padded { tokens: tokens.collect(), positions: positions.collect(), padding: padding.clone() }
}
