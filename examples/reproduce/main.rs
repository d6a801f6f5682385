//! The three experiments of arXiv 2410.20022, "Dynamic layer selection in decoder-only transformers", on one model and one set
//! of prompts: skipping against early exit, hidden states as the input of a controller, and the oracle. Writes one page.
//!
//! ```text
//! cargo run --release --example reproduce -- --out DIR [--model DIR|FILE.gguf --data FILE.jsonl --chat] [--thorough]
//! ```
//!
//! When an interrupted run is started again with the same options, nothing that is finished is repeated. Many processes
//! divide a run with `--shard`, and `--merge` makes the page.

mod arguments;
mod depth;
mod findings;
mod inputs;
mod page;

use arguments::Arguments;
use clap::Parser;
use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::oracle::{Candidate, Item, OracleOptions, OracleRun, Shard};
use dynlayer::inference::report::DepthMap;
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{ControlFrom, GenerateOptions, RunSettings, generate};
use dynlayer::model::format::write_atomic;
use dynlayer_examples::certificates::Texts;
use dynlayer_examples::comparison::{FAMILIES, of_family};
use dynlayer_examples::evidence::{self, Cost, null_depths_between};
use dynlayer_examples::oracle_report::{self, Results};
use dynlayer_examples::output::{check, check_folder, shell_word, tell};
use dynlayer_examples::{Loaded, calibration, shards};
use page::Page;
use std::error::Error;
use std::process::ExitCode;

/// The number of depths of the null oracle's random routes.
const NULL_DEPTHS: usize = 3;
/// The number of answers that are shown word by word.
const SHOWN: usize = 3;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let started = std::time::Instant::now();
    let shard = arguments.shards.shard()?;
    check_folder(&arguments.out)?;
    let files = ["index.html", "page.md"].map(|name| arguments.out.join(name));
    files.iter().try_for_each(|file| check(file))?;
    let measured = arguments.evidence();
    let mut data = evidence::read(&measured)?;
    let loaded = Loaded::open(&arguments.model, arguments.dtype, arguments.quiet)?;
    let Loaded { tokenizer, model, .. } = &loaded;
    let items = evidence::items(&mut data, &measured, tokenizer, model)?;
    let n_layers = model.layers().len();
    let budgets = budgets(arguments, n_layers)?;
    inputs::check(arguments, &loaded)?;
    let texts = calibration::texts(None, &arguments.model, tokenizer, model)?;
    let resources = Resources::new().texts(texts).seed(arguments.seed);

    let run = oracle_run(arguments, &loaded, &budgets, &resources, shard)?;
    let file = match shard {
        Some(shard) => shards::begin(&arguments.out, shard)?,
        None => arguments.out.join("run.jsonl"),
    };
    if arguments.shards.merge {
        run.merge(shards::finished(&arguments.out)?, &file, &items)?;
    }
    tell("1 of 3: skipping and early exit\n");
    let depth = depth::compare(arguments, model, &items, &budgets, &resources, shard)?;
    tell("2 of 3: the oracle\n");
    let outputs = evidence::measure(&run, &file, &items, arguments.quiet)?;
    tell("3 of 3: hidden states as the input of a controller\n");
    let study = inputs::study(arguments, &loaded, shard)?;
    let (Some(depth), Some(study)) = (depth, study) else {
        shard.map(|shard| shards::finish(&arguments.out, shard)).transpose()?;
        tell("this shard is finished; when all are, --merge instead of --shard makes the page\n");
        return Ok(());
    };
    let (table, null) = (outputs.evidence()?, outputs.null()?);

    let bos = arguments.model.bos(tokenizer)?.is_some();
    let states = oracle_report::states(model, &items, n_layers / 6)?;
    let options = (&measured, Cost::Layers);
    let oracle = Results::new(options, n_layers, bos, &table, null.as_ref(), &states, (&data, Vec::new()))?;
    let mut page = Page::new(format!(
        "{} prompts, {n_layers} layers, {} in {}",
        items.len(),
        arguments
            .model
            .model
            .as_ref()
            .map_or_else(|| "the embedded model".to_owned(), |model| model.display().to_string()),
        arguments.dtype
    ));
    page.add(findings::skipping(&depth, &table, &budgets, n_layers)?)?;
    page.add(findings::hidden_states(&study)?)?;
    page.add(findings::oracle(&oracle))?;
    page.maps = maps(arguments, &loaded, &items, &resources)?;
    page.settings = settings(arguments, &budgets, started.elapsed().as_secs());
    let [html, markdown] = &files;
    for (file, text) in [(html, page.html()), (markdown, page.markdown())] {
        write_atomic(file, text.as_bytes()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    tell(format_args!("{}\n", html.display()));
    Ok(())
}

/// The budgets: those that were asked for, or ten from all layers down to one.
fn budgets(arguments: &Arguments, n_layers: usize) -> Result<Vec<usize>, String> {
    let mut budgets = arguments.budgets.clone();
    if budgets.is_empty() {
        budgets = (0..10).map(|i| n_layers - (n_layers - 1) * i / 9).collect();
    }
    if let Some(budget) = budgets.iter().find(|budget| !(1..=n_layers).contains(*budget)) {
        return Err(format!("--budgets: {budget}; expected numbers from 1 to {n_layers}, the model's layers"));
    }
    budgets.sort_unstable_by(|a, b| b.cmp(a));
    budgets.dedup();
    Ok(budgets)
}

/// The run in which every family at every budget answers every prompt, or a shard of the prompts.
fn oracle_run<'a>(
    arguments: &Arguments,
    loaded: &'a Loaded,
    budgets: &[usize],
    resources: &'a Resources,
    shard: Option<Shard>,
) -> Result<OracleRun<'a>, Box<dyn Error>> {
    let (measured, n_layers) = (arguments.evidence(), loaded.model.layers().len());
    let mut specs: Vec<ControllerSpec> = vec!["full".parse()?];
    for budget in budgets.iter().filter(|budget| **budget < n_layers) {
        for family in FAMILIES {
            specs.push(of_family(family, *budget)?);
        }
    }
    let candidates = specs.iter().map(|spec| Candidate::from_spec(spec, &loaded.model, resources)).collect();
    let least = budgets.iter().min().copied().unwrap_or(1).max(n_layers.min(2));
    let most = n_layers.saturating_sub(1).max(least);
    let options = OracleOptions {
        halves: Some(Sampling { temperature: 0.7, ..Sampling::default() }),
        null_depths: null_depths_between(least, most, NULL_DEPTHS),
        shard,
        ..measured.options(loaded)?
    };
    Ok(OracleRun::new(&loaded.model, candidates, measured.metric.measure()).options(options))
}

/// A few answers under early exit by confidence, with the depth of every token.
fn maps(
    arguments: &Arguments,
    loaded: &Loaded,
    items: &[Item],
    resources: &Resources,
) -> Result<Vec<DepthMap>, Box<dyn Error>> {
    let Loaded { checkpoint, tokenizer, model } = loaded;
    let spec: ControllerSpec = "confidence:0.9".parse()?;
    let options = GenerateOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: checkpoint.stop_tokens(tokenizer)?,
        stop_strings: arguments.stop.clone(),
        tokenizer: Some(tokenizer),
        ..GenerateOptions::default()
    };
    let answer = |item: &Item| -> Result<DepthMap, Box<dyn Error>> {
        let prompts = [item.prompt.clone()];
        let mut map = DepthMap::default();
        map.push_given(&tokenizer.decode(&item.prompt, true)?);
        map.push_given("\n");
        for event in generate(model, spec.build(model, resources)?, &prompts, options.clone())? {
            let event = event?;
            map.push(&event.text, &event.route);
        }
        Ok(map)
    };
    items.iter().take(SHOWN).map(answer).collect()
}

/// The settings of the run, by name.
fn settings(arguments: &Arguments, budgets: &[usize], seconds: u64) -> Vec<(String, String)> {
    let Arguments { chat, max_new_tokens, stop, seed, .. } = arguments;
    let (prices, seeds) = inputs::prices(arguments);
    let data =
        arguments.data.as_ref().map_or_else(|| "built-in problems".to_owned(), |file| file.display().to_string());
    let budgets: Vec<String> = budgets.iter().map(ToString::to_string).collect();
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command: Vec<String> = shards::undivided(&command).iter().map(|argument| shell_word(argument)).collect();
    [
        ("command", format!("reproduce {}", command.join(" "))),
        ("prompts", data),
        ("prompts are messages", chat.to_string()),
        ("new tokens", format!("greedy, {}", Texts::end(*max_new_tokens, stop))),
        ("budgets", budgets.join(", ")),
        ("control from", "the last token of the prompt; keys and values of skipped layers are propagated".to_owned()),
        ("study", format!(
                "{} steps per router, prices {prices:?}, {seeds} seeds; at most {} tokens of a prompt and of an answer, on {}",
                arguments.steps(),
                inputs::TOKENS,
                if arguments.data.is_some() { "the same prompts" } else { "50 problems of each task" }
            )),
        ("seed", seed.to_string()),
        ("time of the last start", format!("{seconds} s")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
