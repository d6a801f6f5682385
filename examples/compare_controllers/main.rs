//! Compares controllers with the full model on given text, budget by budget, as arXiv 2410.20022 compares
//! skipping with early exit.
//!
//! For every budget, `uniform`, `random`, `influence` and `exit` run the same tokens as the full model, and their
//! predictions are compared with its.
//!
//! ```text
//! cargo run --example compare_controllers -- --model DIR|FILE.gguf [--text FILE] [--budgets 28,26,24] \
//!     [--controller confidence:0.9 --controller saturation:0.99] [--out DIR [--overwrite]] [--json]
//! ```

mod arguments;
mod output;

use arguments::{Arguments, PROMPT_TOKENS, TOKENS};
use clap::Parser;
use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::{ControlFrom, RunSettings, Session, SessionOptions};
use dynlayer::model::WeightDtype;
use dynlayer_examples::Loaded;
use dynlayer_examples::comparison::{Comparison, FAMILIES, of_family};
use dynlayer_examples::output::warn;
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &arguments.out {
        output::check(folder, arguments.overwrite)?;
    }
    let lengths = (arguments.prompt_tokens, arguments.tokens);
    if arguments.model.model.is_none() && arguments.text.is_none() && lengths != (PROMPT_TOKENS, TOKENS) {
        warn("--prompt-tokens and --tokens have no effect on the embedded model's problems; give a text by --text");
    }
    let loaded = Loaded::open_as(&arguments.model, arguments.dtype, WeightDtype::F32, arguments.json)?;
    let items = dynlayer_examples::items(
        arguments.text.as_deref(),
        &arguments.model,
        &loaded,
        arguments.prompt_tokens,
        arguments.tokens,
        arguments.limit,
    )?;
    // The last prompt token's pass predicts the continuation's first token. Only passes after it are decoding, unless
    // control begins with it.
    let least = if arguments.control_from == ControlFrom::LastPromptToken { 1 } else { 2 };
    if items.iter().any(|item| item.continuation.len() < least) {
        let from = arguments.control_from;
        return Err(format!("--control-from {from} needs continuations of at least {least} tokens to compare").into());
    }
    let Loaded { tokenizer, model, .. } = loaded;
    let texts =
        dynlayer_examples::calibration::texts(arguments.calibration.as_deref(), &arguments.model, &tokenizer, &model)?;
    let bos = arguments.model.bos(&tokenizer)?.is_some();
    let resources = Resources::new().texts(texts).seed(arguments.seed);

    let n_layers = model.layers().len();
    let budgets = if arguments.budgets.is_empty() { default_budgets(n_layers) } else { arguments.budgets.clone() };
    if let Some(budget) = budgets.iter().find(|budget| **budget > n_layers) {
        return Err(format!("a budget of {budget} layers; the model has {n_layers}").into());
    }
    let mut specs: Vec<ControllerSpec> = Vec::new();
    for budget in &budgets {
        for family in FAMILIES {
            specs.push(of_family(family, *budget)?);
        }
    }
    specs.extend(arguments.controllers.iter().cloned());
    // All are built and started before any runs, so that an invalid one is reported at once.
    let mut controllers = Vec::new();
    let settings = RunSettings {
        control_from: arguments.control_from,
        kv_policy: arguments.kv_policy,
        seed: arguments.seed,
        ..RunSettings::default()
    };
    for spec in specs {
        let mut controller = spec.build(&model, &resources)?;
        // A session starts its controller, which refuses models and settings that do not fit it.
        Session::new(&model, &mut controller, SessionOptions { run: settings, ..SessionOptions::default() })?;
        controllers.push((spec.to_string(), controller));
    }
    let bar = dynlayer_examples::progress_bar(arguments.json, "comparing {bar:40} {pos} of {len}, {eta} left");
    bar.set_length(((controllers.len() + 1) * items.len().div_ceil(arguments.batch.get())) as u64);
    let results =
        Comparison { model: &model, settings, batch: arguments.batch.get(), bar: &bar }.run(&items, controllers)?;
    bar.finish_and_clear();
    output::write(arguments, &items, bos, n_layers, &results)
}

/// Returns budgets from seven eighths of the layers down to a quarter, in steps of an eighth.
fn default_budgets(n_layers: usize) -> Vec<usize> {
    let mut budgets: Vec<usize> = (2..=8).rev().map(|eighths| (n_layers * eighths).div_ceil(8)).collect();
    budgets.dedup();
    budgets.retain(|budget| *budget < n_layers);
    budgets
}
