//! What is refused before anything runs.

use super::{Candidate, Cost, Drive, DriveError, Item, Measure};
use crate::control::ControlFrom;
use crate::generation::{GenerateOptions, check_prompts};
use std::collections::HashSet;
use std::fmt::Display;

impl Drive<'_> {
    pub(super) fn check(&self, items: &[Item]) -> Result<(), DriveError> {
        self.check_options()?;
        self.check_candidates()?;
        if items.is_empty() {
            return refuse("the items", "at least one", "none");
        }
        let mut ids = HashSet::new();
        items.iter().try_for_each(|item| {
            if !ids.insert(item.id) {
                return Err(DriveError::DuplicateItem { id: item.id });
            }
            self.check_item(item)
        })
    }

    fn check_options(&self) -> Result<(), DriveError> {
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
        if let (Some(sampling), Measure::Output(_)) = (&options.halves, &self.measure)
            && sampling.temperature <= 0.0
        {
            let expected = "a temperature above 0, or both halves are the same";
            return refuse("halves", expected, sampling.temperature);
        }
        let n_layers = self.model.layers().len();
        let least = n_layers.min(2);
        let mut depths = HashSet::new();
        for depth in options.null_depths.iter().copied() {
            if !(least..=n_layers).contains(&depth) {
                return refuse("null_depths", format!("depths from {least} to {n_layers}"), depth);
            }
            if !depths.insert(depth) {
                return refuse("null_depths", "each depth once", format!("{depth} twice"));
            }
        }
        if !depths.is_empty() && options.cost != Cost::Layers {
            return refuse("null_depths", "none where costs are not layers", depths.len());
        }
        Ok(())
    }

    fn check_candidates(&self) -> Result<(), DriveError> {
        if self.candidates.is_empty() {
            return refuse("the candidates", "at least one", "none");
        }
        let mut names = HashSet::new();
        for candidate in &self.candidates {
            if candidate.name().is_empty() {
                return refuse("the candidates", "names", "an empty one");
            }
            if !names.insert(candidate.name()) {
                return refuse("the candidates", "distinct names", format!("{:?} twice", candidate.name()));
            }
            candidate.controller().map_err(|source| named(candidate, source))?;
        }
        Ok(())
    }

    fn check_item(&self, item: &Item) -> Result<(), DriveError> {
        let options = GenerateOptions {
            stop_strings: self.options.stop_strings.clone(),
            tokenizer: self.options.tokenizer,
            sampling: self.options.halves.clone().unwrap_or_default(),
            ..GenerateOptions::default()
        };
        let check = |tokens: Vec<u32>| {
            check_prompts(self.model, &[tokens], &options).map_err(|source| DriveError::Item { id: item.id, source })
        };
        check(item.prompt.clone())?;
        if !matches!(self.measure, Measure::Likelihood) {
            return Ok(());
        }
        let (expected, found) = (1 + usize::from(self.options.halves.is_some()), item.reference_tokens.len());
        if found < expected {
            return Err(DriveError::Reference { id: item.id, expected, found });
        }
        check([&item.prompt[..], &item.reference_tokens].concat())
    }
}

fn named(candidate: &Candidate<'_>, source: crate::controllers::BuildError) -> DriveError {
    DriveError::Candidate { candidate: candidate.name().to_owned(), source: Box::new(source) }
}

fn refuse(option: &'static str, expected: impl Display, found: impl Display) -> Result<(), DriveError> {
    Err(DriveError::Option { option, expected: expected.to_string(), found: found.to_string() })
}
