//! Checks and measures a device: agreement with reference logits and with the CPU, and the time of passes, host reads and
//! first passes.
//!
//! Each sub-command prints what it finds, adds one line of JSON to a file, and fails if a check fails.
//! `scripts/gpu_check.sh` runs them all, each with a limit of time.
//!
//! ```text
//! cargo run --features cuda --example gpu_check -- --device cuda --model models/SmolLM2-135M-Instruct.Q4_1.gguf routes
//! ```

mod agreement;
mod record;
mod speed;

use burn::tensor::DType;
use clap::{Parser, Subcommand};
use dynlayer::burn;
use dynlayer::inference::KvPolicy;
use dynlayer::model::{WeightDtype, adapter_name};
use dynlayer_examples::Loaded;
use dynlayer_examples::arguments::ModelArguments;
use record::Record;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Checks and measures a device.
#[derive(Parser, Debug)]
struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The element type of the weights: f32 or f16.
    #[arg(long, default_value_t = WeightDtype::F32)]
    dtype: WeightDtype,
    /// The file to which a line of JSON is added.
    #[arg(long, value_name = "FILE.jsonl")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Names the device.
    Device,
    /// Compares top logits and greedy token ids with those of a file.
    Reference {
        /// A file with prompts, their largest logits and the token ids that follow.
        #[arg(value_name = "FILE.json")]
        file: PathBuf,
    },
    /// Counts the embedded model's right answers under four controllers, on the device and on the CPU.
    Embedded {
        /// The number of problems of each task.
        #[arg(long, default_value_t = 10)]
        problems: u64,
    },
    /// Scores a text under random routes: alone, masked in a batch, gathered from a batch, and on the CPU.
    Routes {
        /// The number of routes.
        #[arg(long, default_value_t = 20)]
        routes: u64,
    },
    /// Measures decode by controller and number of rows.
    Decode {
        /// The numbers of rows.
        #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
        rows: Vec<usize>,
        /// The controllers.
        #[arg(long, value_delimiter = ',', default_value = "full,uniform:20,uniform:10,exit:20,exit:10")]
        controllers: Vec<String>,
        /// The number of new tokens.
        #[arg(long, default_value_t = 64)]
        tokens: usize,
        /// The keys and values of layers that a token skips: propagate, deferred or omit.
        #[arg(long, default_value_t = KvPolicy::default())]
        kv_policy: KvPolicy,
        /// The number of measurements, which take turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Measures passes over prompts.
    Prefill {
        /// The numbers of tokens.
        #[arg(long, value_delimiter = ',', default_value = "32,100,512,1000")]
        lengths: Vec<usize>,
    },
    /// Provokes a failure for lack of memory, and generates afterwards.
    Memory,
    /// Measures a host read, the parts of a pass, the gathering of rows, and a matrix product.
    Costs {
        /// The number of times that each is done.
        #[arg(long, default_value_t = 200)]
        times: u32,
        /// The number of rows of the product.
        #[arg(long, default_value_t = 512)]
        rows: usize,
    },
    /// Measures the first passes of the process, by the length of the prompt.
    First {
        /// The lengths of the prompts, in order.
        #[arg(long, value_delimiter = ',', default_value = "9,10,37,100")]
        lengths: Vec<usize>,
    },
}

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = arguments.model.device.open()?;
    if arguments.dtype == WeightDtype::F16 && !device.supports_dtype(DType::F16) {
        Record::say(format_args!("SKIPPED: the device has no 16-bit floats"));
        return Ok(());
    }
    let started = Instant::now();
    let loaded = Loaded::open(&arguments.model, arguments.dtype, true)?;
    let adapter = adapter_name(&loaded.model.device());
    let mut record = Record::new(arguments, adapter, started.elapsed().as_secs_f64());
    let result = match &arguments.command {
        Command::Device => Ok(()),
        Command::Reference { file } => agreement::reference(&loaded, arguments, file, &mut record),
        Command::Embedded { problems } => agreement::embedded(&arguments.model, *problems, &mut record),
        Command::Routes { routes } => agreement::routes(&loaded, arguments, *routes, &mut record),
        Command::Decode { rows, controllers, tokens, kv_policy, rounds } => {
            let plan = speed::Decode { controllers, tokens: *tokens, kv_policy: *kv_policy, rounds: *rounds };
            plan.run(&loaded, rows, &mut record)
        }
        Command::Prefill { lengths } => speed::prefill(&loaded, lengths, &mut record),
        Command::Memory => speed::memory(&loaded, &mut record),
        Command::Costs { times, rows } => speed::costs(&loaded, *times, *rows, &mut record),
        Command::First { lengths } => speed::first(&loaded, lengths, &mut record),
    };
    record.finish(arguments.json.as_deref(), result)
}
