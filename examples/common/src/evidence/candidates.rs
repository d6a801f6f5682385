//! The candidates of the command line, and their defaults.

use super::EvidenceArguments;
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, InfluenceSpec, SpecError};
use std::error::Error;

/// The number of budgets that are tried by default, besides the full model.
const DEFAULT_BUDGETS: usize = 11;

/// Returns the candidates to run; puts the full model first if it was not named.
pub fn specs(arguments: &EvidenceArguments, n_layers: usize) -> Result<Vec<ControllerSpec>, Box<dyn Error>> {
    let mut specs = match &arguments.candidates {
        Some(text) => parse_list(text)?,
        None => default(n_layers),
    };
    let full = ControllerSpec::Full(FullDepth);
    if !specs.contains(&full) {
        specs.insert(0, full);
    }
    Ok(specs)
}

/// Parses a list of controllers, separated by commas.
pub fn parse_list(text: &str) -> Result<Vec<ControllerSpec>, SpecError> {
    split(text).iter().map(|spec| spec.trim().parse()).collect()
}

/// Splits a list at the commas that are followed by a controller's name. Options of a controller follow commas, too,
/// but are numbers (`skip:3,5`) or have an equals sign (`confidence:0.9,min=8`).
fn split(text: &str) -> Vec<String> {
    let begins = |part: &str| {
        let name = part.split(':').next().unwrap_or_default().trim();
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains('=')
    };
    let mut specs: Vec<String> = Vec::new();
    for part in text.split(',') {
        match specs.last_mut() {
            Some(last) if !begins(part) => {
                last.push(',');
                last.push_str(part);
            }
            _ => specs.push(part.to_owned()),
        }
    }
    specs
}

/// Returns the default candidates: the full model, and budgets of `influence` down to a quarter of the layers.
fn default(n_layers: usize) -> Vec<ControllerSpec> {
    let least = n_layers.div_ceil(4).max(1);
    let step = |i: usize| n_layers - (n_layers - least) * i / DEFAULT_BUDGETS;
    let mut budgets: Vec<usize> = (1..=DEFAULT_BUDGETS).map(step).filter(|budget| *budget < n_layers).collect();
    budgets.dedup();
    let influence = budgets.into_iter().map(|budget| ControllerSpec::Influence(InfluenceSpec { budget }));
    std::iter::once(ControllerSpec::Full(FullDepth)).chain(influence).collect()
}

/// Returns `n` depths of random routes, evenly spaced from `least` to `most` layers, each once.
pub fn null_depths_between(least: usize, most: usize, n: usize) -> Vec<usize> {
    let mut depths: Vec<usize> = match n {
        0 => Vec::new(),
        1 => vec![least.midpoint(most)],
        n => (0..n).map(|i| least + (most - least) * i / (n - 1)).collect(),
    };
    depths.dedup();
    depths
}
