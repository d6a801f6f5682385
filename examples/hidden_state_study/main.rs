//! The second experiment of arXiv 2410.20022, on the embedded model or on another one: do hidden states help a router?
//!
//! The same router learns to skip layers from hidden states, from a constant, from positions, from embeddings, and from
//! hidden states of other tokens, at several prices of depth. Each is measured by decoding, without noise, and inputs
//! are compared at equal depth.
//!
//! ```text
//! cargo run --release --example hidden_state_study -- [--alphas 0.1,1] [--seeds 0,1,2] [--out DIR] [--work DIR] \
//!     [--model DIR --data FILE.jsonl|-]
//! ```

mod arguments;
mod output;

use arguments::Arguments;
use dynlayer::inference::training::{DepthLoss, RouterTraining, Temperature, TrainingFolder};
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_examples::study::{Study, StudyProgress, StudyReport, StudyTask};
use dynlayer_examples::text_task::{TextSettings, Texts};
use dynlayer_examples::tiny_task::TinyTask;
use dynlayer_examples::{Loaded, PromptForm};
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::read()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    output::check(arguments)?;
    let quiet = arguments.quiet || arguments.json;
    let Loaded { tokenizer, model, checkpoint } = Loaded::open(&arguments.model, WeightDtype::F32, quiet)?;
    let bos = arguments.model.bos(&tokenizer)?;
    let router = (arguments.router, arguments.bias);
    let (report, quality) = match &arguments.data {
        None => {
            let task = TinyTask::new(&arguments.model, &model, &tokenizer, router, arguments.batch, arguments.items)?;
            (study(arguments, &model, &task, "problems")?, "exact match")
        }
        Some(data) => {
            let stops = checkpoint.stop_tokens(&tokenizer)?;
            let Arguments { batch, items, tokens, skip_long, .. } = *arguments;
            let settings = TextSettings { router, batch, items, tokens, skip_long, stop_strings: Vec::new() };
            let form = PromptForm::usual(&arguments.model, &tokenizer)?;
            let task = Texts::open(data, &model, &tokenizer, (bos, stops), &form, &settings)?;
            (study(arguments, &model, &task, &task.digest().to_string())?, "ROUGE-L")
        }
    };
    output::write(arguments, bos.is_some(), &report, quality)
}

fn study<T: StudyTask>(
    arguments: &Arguments,
    model: &Llama,
    task: &T,
    data: &str,
) -> Result<StudyReport, Box<dyn Error>> {
    let mut training = RouterTraining::new(arguments.steps, arguments.rate, DepthLoss::Price { alpha: 0.0 });
    training.control_from = arguments.control_from;
    training.temperature =
        Temperature { first: arguments.temperature, last: arguments.final_temperature, steps: arguments.steps };
    let mut study = Study::new(training, arguments.alphas.iter().copied(), arguments.seeds.iter().copied());
    study.inputs.clone_from(&arguments.inputs);

    let what = format!("{data} {:?} {} {}", arguments.router, arguments.bias, arguments.batch);
    let folder = arguments.work.as_deref().map(|path| TrainingFolder { path, what: &what });
    let quiet = arguments.quiet || arguments.json;
    let bar = dynlayer_examples::progress_bar(quiet, "{bar:30} {pos}/{len} steps, {elapsed}, left {eta}  {msg}");
    let runs = arguments.inputs.len() * arguments.alphas.len() * arguments.seeds.len();
    bar.set_length(runs as u64 * arguments.steps);
    let report = study.run(model, task, folder, |progress| match progress {
        StudyProgress::Step { run: (input, depth, seed), report } => {
            bar.inc(1);
            if report.step.is_multiple_of(10) {
                let layers = report.metrics.get("layers").copied().unwrap_or_default();
                bar.set_message(format!(
                    "{input:?}, {depth}, seed {seed}: loss {:.3}, {layers:.2} layers",
                    report.loss
                ));
            }
        }
        StudyProgress::Run { done, .. } => bar.set_position(done as u64 * arguments.steps),
        _ => {}
    })?;
    bar.finish_and_clear();
    Ok(report)
}
