//! Checks of prompts.

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
    options.sequence().check(options.tokenizer)
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
