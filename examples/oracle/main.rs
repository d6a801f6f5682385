//! Runs the oracle on any model and data. The oracle finds the fewest layers that would be enough if it were known in
//! advance how many layers each prompt needs.
//!
//! Every prompt runs once, and every candidate continues from there. Results are written as they come, and an
//! interrupted run continues after them. The oracle's result is shown together with baselines, without which it cannot
//! be interpreted.
//!
//! ```text
//! cargo run --release --example oracle -- --model DIR|FILE.gguf --data FILE.jsonl|- --out DIR \
//!     [--candidates full,influence:28,influence:26] [--metric rouge-l|exact|agreement|nll] [--limit N] [--chat] [--json]
//! ```

mod arguments;
mod folder;
mod run;
mod tables;

use arguments::Arguments;
use clap::ArgMatches;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::{Candidate, Item, OracleRun, Shard};
use dynlayer::model::WeightDtype;
use dynlayer_examples::oracle_report::{self, Results};
use dynlayer_examples::output::{check, check_folder, tell, warn};
use dynlayer_examples::{Loaded, evidence, shards};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let (arguments, matches) = Arguments::read();
    dynlayer_examples::main_of(|| run(&arguments, &matches))
}

fn run(arguments: &Arguments, matches: &ArgMatches) -> Result<(), Box<dyn Error>> {
    // Everything that can be wrong is checked before the work begins.
    let shard = arguments.shards.shard()?;
    match shard {
        // A shard writes no results.
        Some(shard) => {
            check_folder(&arguments.out)?;
            check(&arguments.out.join(shards::file_name(shard)))?;
        }
        None => folder::check(&arguments.out, arguments.overwrite)?,
    }
    let mut data = evidence::read(&arguments.evidence)?;
    let loaded =
        Loaded::open_as(&arguments.evidence.model, arguments.evidence.dtype, WeightDtype::F32, arguments.json)?;
    let Loaded { tokenizer, model, .. } = &loaded;
    let n_layers = model.layers().len();
    let items = evidence::items(&mut data, &arguments.evidence, tokenizer, model)?;
    let predictor_layer = predictor_layer(arguments, n_layers)?;
    let specs = evidence::specs(&arguments.evidence, n_layers)?;
    let mut warnings = arguments.without_effect(matches, specs.iter().any(|spec| spec.needs().calibration));
    warnings.extend(evidence::warnings(&data, arguments.evidence.metric));
    for warning in &warnings {
        warn(warning);
    }
    let texts = dynlayer_examples::calibration::texts(
        arguments.evidence.calibration.as_deref(),
        &arguments.evidence.model,
        tokenizer,
        model,
    )?;
    let resources = Resources::new().texts(texts).seed(arguments.evidence.seed);
    let candidates = specs.iter().map(|spec| Candidate::from_spec(spec, model, &resources)).collect();
    let run = run::new(arguments, &loaded, candidates, &specs)?;
    // A run that cannot begin must not remove another one.
    run.check(&items)?;
    if let Some(shard) = shard {
        return measure_shard(arguments, &run, &items, shard);
    }
    let file = arguments.out.join(run::RUN);
    if arguments.shards.merge {
        let merge = || run.merge(shards::files(&arguments.out)?, &file, &items).map_err(Box::<dyn Error>::from);
        match merge() {
            // The file of the whole run may be another run's; if a shard is, it is refused again.
            Err(error) if arguments.overwrite && error.downcast_ref().is_some_and(folder::is_other_run) => {
                folder::clear(&arguments.out)?;
                merge()?
            }
            merged => merged?,
        };
    }
    if !folder::continues(&arguments.out) {
        folder::clear(&arguments.out)?;
    }
    let measured = match evidence::measure(&run, &file, &items, arguments.json) {
        Err(error) if folder::is_other_run(&error) => {
            if !arguments.overwrite {
                return Err(format!("{error}; --overwrite replaces that run").into());
            }
            folder::clear(&arguments.out)?;
            evidence::measure(&run, &file, &items, arguments.json)?
        }
        measured => measured?,
    };
    let table = measured.evidence()?;
    let null = measured.null()?;
    let states = oracle_report::states(model, &items, predictor_layer)?;
    let bos = arguments.evidence.model.bos(tokenizer)?.is_some();
    let results = Results::new(
        (&arguments.evidence, arguments.cost),
        n_layers,
        bos,
        &table,
        null.as_ref(),
        &states,
        (&data, warnings),
    )?;
    let text = oracle_report::text(&results);
    let written = tables::write(arguments, &data.lines, &table, null.as_ref(), &results, &text);
    // A file that cannot be written does not take the results away.
    let printed = print(arguments, &results, &text);
    written.and(printed)
}

/// Returns the layer whose input states the predictor reads.
fn predictor_layer(arguments: &Arguments, n_layers: usize) -> Result<usize, String> {
    let layer = arguments.predictor_layer.unwrap_or(n_layers / 6);
    if layer >= n_layers {
        return Err(format!("--predictor-layer {layer}: expected a layer below {n_layers}"));
    }
    Ok(layer)
}

/// Measures a part of the items, and says what is next.
fn measure_shard(
    arguments: &Arguments,
    run: &OracleRun<'_>,
    items: &[Item],
    shard: Shard,
) -> Result<(), Box<dyn Error>> {
    let file = arguments.out.join(shards::file_name(shard));
    let finished = match evidence::measure(run, &file, items, arguments.json) {
        Err(error) if arguments.overwrite && folder::is_other_run(&error) => {
            folder::remove(&file)?;
            evidence::measure(run, &file, items, arguments.json)?
        }
        measured => measured?,
    };
    let finished = finished.items.len();
    let file = file.display();
    tell(format_args!(
        "shard {shard}: {finished} of {} items are in {file}; when all shards are finished, --merge instead of --shard \
         makes the results\n",
        items.len()
    ));
    Ok(())
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
