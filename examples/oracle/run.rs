//! Running the model.

use crate::arguments::Arguments;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::oracle::{Candidate, OracleOptions, OracleRun};
use dynlayer::inference::sampling::Sampling;
use dynlayer_examples::Loaded;
use dynlayer_examples::evidence::{Cost, null_depths_between};
use std::error::Error;

/// The file that an interrupted run continues from.
pub const RUN: &str = "run.jsonl";

/// Makes the run that the arguments ask for.
pub fn new<'a>(
    arguments: &Arguments,
    loaded: &'a Loaded,
    candidates: Vec<Candidate<'a>>,
    specs: &[ControllerSpec],
) -> Result<OracleRun<'a>, Box<dyn Error>> {
    let evidence = &arguments.evidence;
    let options = OracleOptions {
        // The measures that score given tokens do not use the sampling.
        halves: (arguments.halves > 0.0).then(|| Sampling {
            temperature: if evidence.metric.reads_outputs() { arguments.halves } else { 0.0 },
            ..Sampling::default()
        }),
        null_depths: null_depths(arguments, specs, loaded.model.layers().len()),
        cost: arguments.cost.unit(),
        shard: arguments.shards.shard()?,
        ..evidence.options(loaded)?
    };
    Ok(OracleRun::new(&loaded.model, candidates, evidence.metric.measure()).options(options))
}

/// Returns the depths of random routes, evenly spaced from the smallest budget of the candidates to all layers but one.
fn null_depths(arguments: &Arguments, specs: &[ControllerSpec], n_layers: usize) -> Vec<usize> {
    if arguments.cost != Cost::Layers {
        return Vec::new();
    }
    let budget = |spec: &ControllerSpec| match spec {
        ControllerSpec::Uniform(uniform) => Some(uniform.budget()),
        ControllerSpec::Influence(influence) => Some(influence.budget),
        ControllerSpec::Random(random) => Some(random.budget()),
        ControllerSpec::Exit(exit) => Some(exit.0),
        ControllerSpec::Skip(skip) => n_layers.checked_sub(skip.layers().count()),
        _ => None,
    };
    // A random route always runs the first and the last layer, so it has at least two.
    let least = specs.iter().filter_map(budget).min().unwrap_or(n_layers / 4).max(n_layers.min(2));
    let most = n_layers.saturating_sub(1).max(least);
    null_depths_between(least, most, arguments.null)
}
