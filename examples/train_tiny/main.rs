//! Trains the embedded model: a Llama of 12 layers on problems of graded difficulty, by `LayerSkip`'s recipe.
//!
//! ```text
//! cargo run --release --example train_tiny -- --out crates/tiny/assets --overwrite
//! ```
//!
//! A stopped training continues from its last checkpoint when it is started again with the same options.

mod arguments;
mod card;
mod data;
mod evaluate;
mod stage;
mod tokenizer;

use arguments::Arguments;
use burn::tensor::Tensor;
use clap::Parser;
use data::Data;
use dynlayer::burn;
use dynlayer::inference::training::{
    self, ExitLoss, LayerDropout, PassOptions, StepLoss, StepPart, StepReport, Trainer, TrainerOptions, TrainingError,
};
use dynlayer::metrics::random;
use dynlayer::model::config::LlamaConfig;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use dynlayer_examples::output::tell;
use dynlayer_examples::study::purposes;
use dynlayer_tiny::{Task, problems};
use stage::{Stage, stages};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.check()?;
    if !arguments.evaluate_only {
        train(arguments)?;
    }
    report(arguments)
}

/// Returns the model's configuration.
fn config(vocab_size: usize) -> Result<LlamaConfig, Box<dyn Error>> {
    let json = serde_json::json!({
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "bos_token_id": null,
        "eos_token_id": tokenizer::END_ID,
    });
    Ok(LlamaConfig::from_hf_json(&json.to_string(), "the built-in configuration")?)
}

fn train(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    tokenizer::save(&arguments.out)?;
    let tokenizer = Tokenizer::from_hf_folder(&arguments.out)?;
    let config = config(tokenizer.vocab_size())?;
    let device = arguments.device.open()?.autodiff();
    let mut model = config.init(arguments.seed, WeightDtype::F32, &device)?;
    for stage in stages(arguments) {
        model = train_stage(arguments, &stage, model, &config, &tokenizer)?;
    }
    model.save(&arguments.out, WeightDtype::F16)?;
    Ok(())
}

fn train_stage(
    arguments: &Arguments,
    stage: &Stage,
    model: Llama,
    config: &LlamaConfig,
    tokenizer: &Tokenizer,
) -> Result<Llama, Box<dyn Error>> {
    let Stage { tasks, steps, rate, folder, after } = stage;
    let data = Data::new(tokenizer.clone(), arguments.seed, arguments.batch, tasks.clone(), *after);
    let mut options = TrainerOptions::new(*steps, *rate);
    options.adamw.weight_decay = 0.05;
    let exits = ExitLoss { scale: arguments.exit_scale, rotation: 1 };
    let dropout = LayerDropout { max: arguments.dropout, curriculum: Some(*steps), seed: arguments.seed, step: 0 };
    let first = data.batch(&model, 0, 0)?.digest();
    let what = serde_json::json!({
        "config": config, "seed": arguments.seed, "batch": arguments.batch, "exits": exits, "dropout": dropout,
        "tasks": tasks.iter().map(ToString::to_string).collect::<Vec<_>>(), "first_batch": first,
    });
    let trainer = Trainer::in_folder(folder, &what.to_string(), model, options)?;
    let bar = dynlayer_examples::progress_bar(arguments.quiet, "{bar:30} {pos}/{len} {elapsed} left {eta}  {msg}");
    bar.set_length(*steps);
    bar.set_position(trainer.steps_done());
    bar.reset_eta();

    let loss = |model: &Llama, StepPart { step, part }: StepPart| -> Result<StepLoss, TrainingError> {
        let batch = data.batch(model, step, part)?;
        let options = PassOptions { keep_states: true, ..PassOptions::default() };
        let pass = training::pass(model, &mut LayerDropout { step, ..dropout }, &batch, options)?;
        let (loss, parts) = exits.loss(model, &pass, &batch, step)?;
        // One read for all exits.
        let values = Tensor::cat(parts.iter().map(|(_, loss)| loss.clone().detach()).collect(), 0);
        let values = values.into_data().try_into_vec_as::<f32>().unwrap_or_default();
        let metrics =
            parts.iter().zip(values).map(|((layer, _), loss)| (format!("exit:{}", layer + 1), f64::from(loss)));
        Ok(StepLoss { loss, metrics: metrics.collect() })
    };
    let mut smooth = f64::NAN;
    let model = trainer.run(loss, |report: &StepReport| {
        let last = report.metrics.get("exit:12").copied().unwrap_or(report.loss);
        smooth = if smooth.is_nan() { last } else { 0.98 * smooth + 0.02 * last };
        bar.set_message(format!("loss {smooth:.4}"));
        bar.inc(1);
        if arguments.quiet && report.step.is_multiple_of(100) {
            tell(format_args!("step {} loss {smooth:.4} ({:.2} s)\n", report.step, report.seconds));
        }
    })?;
    bar.finish();
    Ok(model)
}

/// Measures the model as stored in its files, and writes its card.
fn report(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let checkpoint = Checkpoint::open(&arguments.out)?;
    let tokenizer = checkpoint.tokenizer()?;
    let model = checkpoint.load(WeightDtype::F16, &arguments.device.open()?, |_| {})?;
    let started = Instant::now();
    let seed = random::derive(purposes::MEASURED, arguments.seed, [0, 0, 0]);
    let problems = problems(&Task::ALL, arguments.problems, seed);
    let table = evaluate::table(&model, &tokenizer, &problems)?;
    writeln!(std::io::stdout(), "{table}")?;
    tell(format_args!("measured in {:.0} s\n", started.elapsed().as_secs_f64()));

    card::write(arguments, &model, &table)
}
