//! Runs the oracle on any model and data. The oracle finds the fewest layers that would be enough if it were known in
//! advance how many layers each prompt needs.
//!
//! Every prompt runs once, and every candidate continues from there. Results are written as they come, and an
//! interrupted run continues after them. The oracle's result is shown together with baselines, without which it cannot
//! be interpreted.
//!
//! ```text
//! cargo run --release --example oracle -- --model DIR|FILE.gguf --data FILE.jsonl --out DIR \
//!     [--candidates full,influence:28,influence:26] [--metric rouge-l|agreement|nll] [--limit N] [--chat] [--json]
//! ```

mod arguments;
mod candidates;
mod data;
mod predictor;
mod results;
mod run;
mod summary;
mod tables;

use arguments::Arguments;
use clap::Parser;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::Candidate;
use dynlayer_examples::Loaded;
use results::Results;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    dynlayer_examples::main_of(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Everything that can be wrong is checked before the work begins.
    std::fs::create_dir_all(&arguments.out).map_err(|error| format!("{}: {error}", arguments.out.display()))?;
    let lines = match &arguments.data {
        Some(file) => data::read(file, arguments.limit)?,
        None if arguments.model.is_none() => data::problems(arguments.limit),
        None => return Err("--model needs --data FILE.jsonl: built-in problems are for the embedded model only".into()),
    };
    let device = arguments.device.device()?;
    let loaded = Loaded::open(arguments.model.as_deref(), arguments.dtype, &device, arguments.json)?;
    let Loaded { tokenizer, model, .. } = &loaded;
    let n_layers = model.layers().len();
    let items = data::items(&lines, tokenizer, arguments.chat, arguments.max_new_tokens)?;
    let specs = candidates::specs(arguments, n_layers)?;
    let texts = dynlayer_examples::calibration::texts(
        arguments.calibration.as_deref(),
        arguments.model.as_deref(),
        tokenizer,
        model,
    )?;
    let resources = Resources::new().texts(texts).seed(arguments.seed);
    let candidates = || specs.iter().map(|spec| Candidate::from_spec(spec, model, &resources)).collect::<Vec<_>>();

    let measured = run::run(arguments, &loaded, candidates(), &specs, &items)?;
    let evidence = measured.evidence()?;
    let null = measured.null()?;
    let states = predictor::states(arguments, model, &items)?;
    let results = Results::new(arguments, n_layers, &evidence, null.as_ref(), &states)?;
    tables::write(arguments, &lines, &evidence, null.as_ref(), &results)?;
    let text = summary::text(arguments, &results);
    std::fs::write(arguments.out.join("summary.txt"), &text)?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, &results)?;
        writeln!(out)?;
    } else {
        write!(out, "{text}")?;
    }
    Ok(())
}
