//! Running the model.

use crate::arguments::{Arguments, Cost, Metric};
use crate::candidates::null_depths;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::oracle::{
    self, Candidate, Item, Measure, OracleError, OracleOptions, OracleResults, OracleRun,
};
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{ControlFrom, RunSettings};
use dynlayer::metrics::text::{Rouge, RougeVariant};
use dynlayer_examples::{Loaded, progress_bar};
use std::error::Error;

/// The file that an interrupted run continues from.
pub const RUN: &str = "run.jsonl";

/// Makes the run that the arguments ask for.
pub fn new<'a>(
    arguments: &Arguments,
    Loaded { checkpoint, tokenizer, model }: &'a Loaded,
    candidates: Vec<Candidate<'a>>,
    specs: &[ControllerSpec],
) -> Result<OracleRun<'a>, Box<dyn Error>> {
    let options = OracleOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: checkpoint.stop_tokens(tokenizer)?,
        tokenizer: Some(tokenizer),
        run: RunSettings {
            control_from: ControlFrom::LastPromptToken,
            kv_policy: arguments.kv_policy,
            seed: arguments.seed,
            ..RunSettings::default()
        },
        // The measures that score given tokens do not use the sampling.
        halves: (arguments.halves > 0.0).then(|| match arguments.metric {
            Metric::RougeL => Sampling { temperature: arguments.halves, ..Sampling::default() },
            Metric::Agreement | Metric::Nll => Sampling::default(),
        }),
        null_depths: null_depths(arguments, specs, model.layers().len()),
        cost: match arguments.cost {
            Cost::Layers => oracle::Cost::Layers,
            Cost::Gigaflops => oracle::Cost::Gigaflops,
            Cost::Milliseconds => oracle::Cost::Milliseconds,
        },
        lanes: arguments.lanes,
        labels: [("chat".to_owned(), arguments.chat.to_string())].into(),
        ..OracleOptions::default()
    };
    let measure = match arguments.metric {
        Metric::RougeL => Measure::output("rouge-l", |output| {
            Rouge::plain().score_variant(RougeVariant::RougeL, output.reference, output.text).f1
        }),
        Metric::Agreement => Measure::Agreement,
        Metric::Nll => Measure::Likelihood,
    };
    Ok(OracleRun::new(model, candidates, measure).options(options))
}

/// Runs the items that are not finished yet, with a progress bar on standard error.
pub fn measure(arguments: &Arguments, run: &OracleRun<'_>, items: &[Item]) -> Result<OracleResults, OracleError> {
    let bar = progress_bar(arguments.json, "prompts {bar:40} {pos} of {len}, {elapsed} so far, {eta} left");
    let results = run.run(arguments.out.join(RUN), items, |progress| {
        bar.set_length(progress.total as u64);
        if progress.done == progress.resumed {
            // The time left is estimated without the items that an earlier run finished.
            bar.set_position(progress.done as u64);
            bar.reset_eta();
        }
        bar.set_position(progress.done as u64);
    })?;
    bar.finish_and_clear();
    Ok(results)
}
