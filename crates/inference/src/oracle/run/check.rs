//! Checks of options, candidates and items before anything runs.

use super::{Candidate, Cost, Item, Measure, OracleError, OracleRun};
use crate::control::{ControlFrom, Setup};
use crate::generation::{GenerateOptions, check_prompts};
use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

impl OracleRun<'_> {
    /// Refuses options, candidates and items that cannot be run. [`run`](Self::run) begins with this check.
    ///
    /// # Errors
    /// [`OracleError`], with the option, the candidate or the item.
    pub fn check(&self, items: &[Item]) -> Result<(), OracleError> {
        self.check_options()?;
        self.check_candidates()?;
        if items.is_empty() {
            return refuse("the items", "at least one", "none");
        }
        if let Some(id) = repeated(items.iter().map(|item| item.id)) {
            return Err(OracleError::DuplicateItem { id });
        }
        items.iter().try_for_each(|item| self.check_item(item))
    }

    fn check_options(&self) -> Result<(), OracleError> {
        let options = &self.options;
        for (name, value) in [("max_new_tokens", options.max_new_tokens), ("lanes", options.lanes)] {
            if value == 0 {
                return refuse(name, "at least 1", value);
            }
        }
        let control_from = options.run.control_from;
        if control_from != ControlFrom::LastPromptToken {
            return refuse("run.control_from", ControlFrom::LastPromptToken, control_from);
        }
        if let (Some(sampling), Measure::Output { .. }) = (&options.halves, &self.measure)
            && sampling.temperature <= 0.0
        {
            let expected = "a temperature above 0, without which both halves are the same";
            return refuse("halves", expected, sampling.temperature);
        }
        let n_layers = self.model.layers().len();
        let (least, depths) = (n_layers.min(2), &options.null_depths);
        if let Some(depth) = depths.iter().find(|depth| !(least..=n_layers).contains(depth)) {
            return refuse("null_depths", format!("depths from {least} to {n_layers}"), depth);
        }
        if let Some(depth) = repeated(depths) {
            return refuse("null_depths", "each depth once", format!("{depth} twice"));
        }
        if !depths.is_empty() && options.cost != Cost::Layers {
            return refuse("null_depths", "no depths unless costs are counted in layers", depths.len());
        }
        Ok(())
    }

    fn check_candidates(&self) -> Result<(), OracleError> {
        if self.candidates.is_empty() {
            return refuse("the candidates", "at least one", "none");
        }
        if self.candidates.iter().any(|candidate| candidate.name().is_empty()) {
            return refuse("the candidates", "non-empty names", "an empty one");
        }
        if let Some(name) = repeated(self.candidates.iter().map(Candidate::name)) {
            return refuse("the candidates", "distinct names", format!("{name:?} twice"));
        }
        let setup = Setup { model: self.model, settings: self.options.run };
        self.candidates.iter().try_for_each(|candidate| candidate.check(&setup))
    }

    fn check_item(&self, item: &Item) -> Result<(), OracleError> {
        let options = GenerateOptions {
            stop_strings: self.options.stop_strings.clone(),
            tokenizer: self.options.tokenizer,
            sampling: self.options.halves.clone().unwrap_or_default(),
            ..GenerateOptions::default()
        };
        let check = |tokens: Vec<u32>| {
            check_prompts(self.model, &[tokens], &options).map_err(|source| OracleError::Item { id: item.id, source })
        };
        check(item.prompt.clone())?;
        if !matches!(self.measure, Measure::Likelihood) {
            return Ok(());
        }
        if item.reference_tokens.is_empty() {
            return Err(OracleError::Reference { id: item.id, expected: 1, found: 0 });
        }
        check([&item.prompt[..], &item.reference_tokens].concat())
    }
}

/// The first value that comes a second time.
fn repeated<T: Copy + Eq + Hash>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = HashSet::new();
    values.into_iter().find(|value| !seen.insert(*value))
}

fn refuse(option: &'static str, expected: impl Display, found: impl Display) -> Result<(), OracleError> {
    Err(OracleError::Option { option, expected: expected.to_string(), found: found.to_string() })
}
