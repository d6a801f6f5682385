//! Runs the oracle on any model and data. The oracle finds the fewest layers that would be enough if it were known in
//! advance how many layers each prompt needs.
//!
//! Every prompt runs once, and every candidate continues from there. Results are written as they come, and an
//! interrupted run continues after them. The oracle's result is shown together with baselines, without which it cannot
//! be interpreted.
//!
//! ```text
//! cargo run --release --example oracle -- --model DIR|FILE.gguf --data FILE.jsonl|- --out DIR \
//!     [--candidates full,influence:28,influence:26] [--metric rouge-l|agreement|nll] [--limit N] [--chat] [--json]
//! ```

mod arguments;
mod candidates;
mod data;
mod folder;
mod predictor;
mod results;
mod run;
mod summary;
mod tables;

use arguments::Arguments;
use clap::ArgMatches;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::Candidate;
use dynlayer::model::WeightDtype;
use dynlayer_examples::Loaded;
use dynlayer_examples::output::warn;
use results::Results;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let (arguments, matches) = Arguments::read();
    dynlayer_examples::main_of(|| run(&arguments, &matches))
}

fn run(arguments: &Arguments, matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    // Everything that can be wrong is checked before the work begins.
    folder::check(&arguments.out, arguments.overwrite)?;
    let mut data = data::read(arguments)?;
    let loaded = Loaded::open_as(&arguments.model, arguments.dtype, WeightDtype::F32, arguments.json)?;
    let Loaded { tokenizer, model, .. } = &loaded;
    let n_layers = model.layers().len();
    let items = data::items(&mut data, arguments, tokenizer, model)?;
    let predictor_layer = predictor::layer(arguments, n_layers)?;
    let specs = candidates::specs(arguments, n_layers)?;
    let mut warnings = arguments.without_effect(matches, specs.iter().any(|spec| spec.needs().calibration));
    warnings.extend(data::warnings(&data, arguments.metric));
    for warning in &warnings {
        warn(warning);
    }
    let texts =
        dynlayer_examples::calibration::texts(arguments.calibration.as_deref(), &arguments.model, tokenizer, model)?;
    let resources = Resources::new().texts(texts).seed(arguments.seed);
    let candidates = specs.iter().map(|spec| Candidate::from_spec(spec, model, &resources)).collect();
    let run = run::new(arguments, &loaded, candidates, &specs)?;
    // A run that cannot begin must not remove another one.
    run.check(&items)?;
    if !folder::continues(&arguments.out) {
        folder::clear(&arguments.out)?;
    }
    let measured = match run::measure(arguments, &run, &items) {
        Err(error) if folder::is_other_run(&error) => {
            if !arguments.overwrite {
                return Err(format!("{error}; --overwrite replaces that run").into());
            }
            folder::clear(&arguments.out)?;
            run::measure(arguments, &run, &items)?
        }
        measured => measured?,
    };
    let evidence = measured.evidence()?;
    let null = measured.null()?;
    let states = predictor::states(model, &items, predictor_layer)?;
    let bos = arguments.model.bos(tokenizer)?.is_some();
    let results = Results::new(arguments, n_layers, bos, &evidence, null.as_ref(), &states, (&data, warnings))?;
    let text = summary::text(arguments, &results);
    let written = tables::write(arguments, &data.lines, &evidence, null.as_ref(), &results, &text);
    // A file that cannot be written does not take the results away.
    let printed = print(arguments, &results, &text);
    written.and(printed)
}

fn print(arguments: &Arguments, results: &Results, text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, results)?;
        writeln!(out)?;
    } else {
        write!(out, "{text}")?;
    }
    Ok(())
}
