//! Trains an adapter with which a model answers prompts of one kind with fewer layers.
//!
//! ```text
//! cargo run --release --example adapt -- --model SmolLM2-135M-Instruct --prompts train.jsonl --held-out test.jsonl \
//!     --out my-adapter --work target/adapt
//! ```
//!
//! A stopped training continues from its last checkpoint when it is started again with the same options.

mod answers;
mod arguments;
mod batches;
mod measure;
mod progress;

use answers::{answers, encode};
use arguments::Arguments;
use batches::Batches;
use clap::Parser;
use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::training::{AdapterTuning, StepPart, TrainingFolder, TrainingItem};
use dynlayer::metrics::statistics::Interval;
use dynlayer::model::{Adapter, AdapterOptions, Llama, WeightDtype};
use dynlayer_examples::data::Data;
use dynlayer_examples::evidence::parse_list;
use dynlayer_examples::{Loaded, calibration};
use measure::{Distance, distances};
use progress::Progress;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.check()?;
    // Before the training, so that a list that cannot be read costs no time.
    let listed = arguments.controllers.as_deref().map(parse_list).transpose()?;
    std::fs::create_dir_all(&arguments.work).map_err(|error| format!("{}: {error}", arguments.work.display()))?;
    let loaded = Loaded::open(&arguments.model, WeightDtype::F32, arguments.quiet)?;
    let read = |file, limit| -> Result<Vec<TrainingItem>, Box<dyn Error>> {
        let prompts = encode(&Data::read(file, limit)?, arguments, &loaded)?;
        answers(arguments, &prompts, &loaded)
    };
    let (learned, held_out) = (read(&arguments.prompts, arguments.limit)?, read(&arguments.held_out, None)?);
    let batches = Batches::new(arguments, &loaded, learned)?;
    let checked = &held_out[..arguments.check.min(held_out.len())];
    let adapter = train(arguments, &loaded.model, &batches, checked)?;
    adapter.save(&arguments.out, &arguments.base, WeightDtype::F16)?;

    // Measures the adapter as stored in its files.
    let adapter = Adapter::open(&arguments.out, &loaded.model)?;
    let merged = loaded.model.adapted(&adapter)?.merged();
    let specs = match listed {
        Some(listed) => listed,
        None => specs(&measured(loaded.model.layers().len()))?,
    };
    let Loaded { tokenizer, model, .. } = &loaded;
    let measured = |measured: &Llama| {
        // What is calibrated is calibrated on the model that is measured.
        let resources = Resources::new().texts(calibration::texts(None, &arguments.model, tokenizer, measured)?);
        distances(model, measured, &held_out, &specs, &resources)
    };
    let (before, after) = (measured(model)?, measured(&merged)?);
    print(&before, &after, held_out.len())?;
    Ok(())
}

fn train(
    arguments: &Arguments,
    model: &Llama,
    batches: &Batches,
    checked: &[TrainingItem],
) -> Result<Adapter, Box<dyn Error>> {
    let Arguments { rank, alpha, seed, steps, rate, .. } = arguments;
    let options = AdapterOptions { rank: *rank, alpha: *alpha, seed: *seed, ..AdapterOptions::default() };
    let mut tuning = AdapterTuning::new(*steps, *rate, &arguments.depths);
    (tuning.dropout, tuning.seed) = (arguments.dropout, *seed);
    tuning.trainer.checkpoint_every = 25;
    let what = batches.digest().to_string();
    let folder = TrainingFolder { path: &arguments.work, what: &what };
    let data = |at: StepPart| batches.batch(model, &tuning.depth(at.step), at);
    let first = match &arguments.from {
        Some(folder) => Adapter::open(folder, model)?,
        None => Adapter::new(model, &options)?,
    };
    let mut training = tuning.start(model, first, Some(folder), data)?;
    let mut curve = Progress::open(arguments.work.join("curve.jsonl"), training.steps_done())?;
    let checks = specs(&checked_controllers(model.layers().len()))?;
    let last = arguments.stop_after.unwrap_or(*steps).min(*steps);
    let bar = dynlayer_examples::progress_bar(arguments.quiet, "{bar:30} {pos}/{len} steps, left {eta}  {msg}");
    bar.set_length(last);
    bar.set_position(training.steps_done());
    bar.reset_eta();
    while training.steps_done() < last {
        let report = training.step(data)?;
        bar.set_position(report.step + 1);
        bar.set_message(format!("{} {:.3}", tuning.depth(report.step), report.loss));
        if (report.step + 1).is_multiple_of(arguments.check_every) || report.step + 1 == last {
            let adapted = model.adapted(&training.adapter())?.merged();
            let found = distances(model, &adapted, checked, &checks, &Resources::new())?;
            bar.suspend(|| curve.add(report.step + 1, found))?;
        }
    }
    bar.finish_and_clear();
    training.save()?;
    curve.plot(&arguments.out)?;
    Ok(training.adapter())
}

/// The controllers that are measured during the training: all layers, a fifth and a third of them.
fn checked_controllers(n_layers: usize) -> Vec<String> {
    vec!["full".to_owned(), exit(n_layers, 6), exit(n_layers, 10)]
}

/// The controllers that are measured at the end.
fn measured(n_layers: usize) -> Vec<String> {
    let exits = [6, 8, 10, 14, 22].map(|thirtieths| exit(n_layers, thirtieths));
    let static_ones = ["uniform", "influence"]
        .iter()
        .flat_map(|name| [n_layers / 3, n_layers / 2].map(|layers| format!("{name}:{}", layers.max(2))));
    let mut specs = vec!["full".to_owned()];
    specs.extend(exits.into_iter().chain(static_ones).chain(["confidence:0.9".to_owned()]));
    specs
}

/// The exit after so many thirtieths of the layers.
fn exit(n_layers: usize, thirtieths: usize) -> String {
    format!("exit:{}", (n_layers * thirtieths / 30).max(1))
}

fn specs(texts: &[String]) -> Result<Vec<ControllerSpec>, Box<dyn Error>> {
    Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

/// Prints a table with a row per controller.
fn print(before: &[Distance], after: &[Distance], items: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Against the original model at full depth, on {items} held-out prompts: agreement with its likeliest tokens (after the \
         training with an interval of 95 %), mean log-probability of its tokens, and divergence from it, in nats per token.\n"
    )?;
    writeln!(
        out,
        "| controller | layers | agreement | with the adapter | log-probability | with | divergence | with |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
    for (before, after) in before.iter().zip(after) {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let interval = after.interval.filter(Interval::is_known);
        let interval = interval.map_or_else(String::new, |of| format!(" [{}, {}]", percent(of.low), percent(of.high)));
        writeln!(
            out,
            "| {} | {:.1} | {} % | {} %{interval} | {:.3} | {:.3} | {:.3} | {:.3} |",
            after.controller,
            after.layers,
            percent(before.agreement),
            percent(after.agreement),
            before.log_probability,
            after.log_probability,
            before.divergence,
            after.divergence
        )?;
    }
    Ok(())
}
