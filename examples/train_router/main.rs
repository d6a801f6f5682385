//! Trains the router that comes with the embedded model, which chooses the layers of a token from its hidden state.
//!
//! ```text
//! cargo run --release --example train_router -- --depth budget:7.5 --out crates/tiny/assets/router.safetensors \
//!     --overwrite
//! ```

mod arguments;

use arguments::Arguments;
use clap::Parser;
use dynlayer::inference::ControlFrom;
use dynlayer::inference::controllers::{AnyRouter, FullDepth, Routed};
use dynlayer::inference::training::{RouterTraining, StepReport, Temperature, TrainingFolder};
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_examples::Loaded;
use dynlayer_examples::study::{Evaluation, StudyTask, evaluate};
use dynlayer_examples::tiny_task::TinyTask;
use dynlayer_tiny::Task;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// The first controlled token, chosen so that all generated tokens come from controlled passes, as in every table of
/// the embedded model.
const FROM: ControlFrom = ControlFrom::LastPromptToken;
/// The number of problems that are measured together.
const BATCH: usize = 50;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.check()?;
    let Loaded { tokenizer, model, .. } = Loaded::open(&arguments.model, WeightDtype::F32, arguments.quiet)?;
    let new = (arguments.router, arguments.bias);
    let task = TinyTask::new(&arguments.model, &model, &tokenizer, new, arguments.batch, arguments.problems)?;
    let routed = train(arguments, &model, &task)?;
    routed.save(&arguments.out)?;

    // Measures the router as stored in the file.
    let mut routed = Routed::load(&arguments.out, &model.device())?;
    let full = evaluate(&model, &mut FullDepth, &task, FROM, BATCH)?;
    let found = evaluate(&model, &mut routed, &task, FROM, BATCH)?;
    Ok(print(&task, &full, &found)?)
}

fn train(arguments: &Arguments, model: &Llama, task: &TinyTask<'_>) -> Result<Routed<AnyRouter>, Box<dyn Error>> {
    let mut training = RouterTraining::new(arguments.steps, arguments.rate, arguments.depth);
    training.temperature = Temperature { first: 1.0, last: arguments.final_temperature, steps: arguments.steps };
    training.router.ends = arguments.ends;
    (training.control_from, training.seed) = (FROM, arguments.seed);
    // The training itself tells models and first batches apart.
    let what = format!("{:?} {} {}", arguments.router, arguments.bias, arguments.batch);
    let folder = arguments.work.as_deref().map(|path| TrainingFolder { path, what: &what });
    let bar = dynlayer_examples::progress_bar(arguments.quiet, "{bar:30} {pos}/{len} steps, left {eta}  {msg}");
    bar.set_length(arguments.steps);
    let progress = |report: &StepReport| {
        let metric = |name| report.metrics.get(name).copied().unwrap_or_default();
        bar.set_position(report.step + 1);
        bar.set_message(format!("cross-entropy {:.3}, {:.2} layers", metric("cross_entropy"), metric("layers")));
    };
    let data = |at| task.batch(arguments.seed, at);
    let routed = training.run(model, task.router(arguments.seed), folder, data, progress)?;
    bar.finish_and_clear();
    Ok(routed)
}

/// Prints a table with a row per task.
fn print(task: &TinyTask<'_>, full: &Evaluation, found: &Evaluation) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| task | full depth | router | layers per token |\n|---|---:|---:|---:|")?;
    let mut row = |name: &str, includes: &dyn Fn(Task) -> bool| {
        let mean = |values: &[f64]| {
            let chosen = values.iter().zip(task.problems()).filter(|(_, problem)| includes(problem.task));
            let (sum, n) = chosen.fold((0.0, 0.0), |(sum, n), (value, _)| (sum + value, n + 1.0));
            sum / n
        };
        let (all, quality, layers) = (mean(&full.quality), mean(&found.quality), mean(&found.layers));
        writeln!(out, "| {name} | {:.1} | {:.1} | {layers:.2} |", 100.0 * all, 100.0 * quality)
    };
    Task::ALL.iter().try_for_each(|task| row(task.name(), &|other| other == *task))?;
    row("all", &|_| true)
}
