//! Compares skipping, early exits, a learned router and the oracle on the embedded model, in seconds.
//!
//! ```text
//! cargo run --example quickstart
//! ```

mod lossless;
mod measure;
mod oracle;
mod plot;
mod show;

use clap::Parser;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::model::{Backend, DeviceSpec, WeightDtype};
use dynlayer_examples::Loaded;
use dynlayer_examples::arguments::ModelArguments;
use dynlayer_examples::output::check_files;
use dynlayer_tiny::{Task, problems};
use measure::{Bench, Row};
use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The controllers of the table, beside the oracle: full depth, static skipping, early exit, an exit by confidence, and
/// a router that was trained on the hidden states.
const TABLE: [&str; 9] = [
    "full",
    "uniform:9",
    "influence:9",
    "exit:9",
    "uniform:6",
    "influence:6",
    "exit:6",
    "confidence:0.9",
    "router:router.safetensors",
];

/// The folder for images by default, which only this program writes to.
const DEFAULT_OUT: &str = "target/quickstart";

/// The thresholds of the confidence controller's curve.
const THRESHOLDS: [f32; 5] = [0.3, 0.6, 0.8, 0.95, 0.99];

/// Compares skipping, early exits, a learned router and the oracle on the embedded model.
#[derive(Parser, Debug)]
struct Arguments {
    /// The number of held-out problems of each task.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    problems: u64,
    /// The number of problems of each task that are also run one at a time, to measure speed.
    #[arg(long, default_value = "6")]
    timed: NonZeroUsize,
    /// The seed from which the problems are drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The device to compute on: flex, ndarray, cuda or wgpu, or cuda:1 for the second GPU; all but flex need the Cargo feature
    /// of that name.
    #[arg(long, default_value_t = Backend::Flex.into())]
    device: DeviceSpec,
    /// The folder to write the images to.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_OUT)]
    out: PathBuf,
    /// Replace images that are there already. In the default folder they are always replaced.
    #[arg(long)]
    overwrite: bool,
}

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let overwrite = arguments.overwrite || arguments.out == Path::new(DEFAULT_OUT);
    check_files(&arguments.out, &["depths.svg", "quality.svg", "quality.png"], overwrite)?;
    let loaded = Loaded::open(&ModelArguments::embedded(arguments.device), WeightDtype::F32, true)?;
    let problems = problems(&Task::ALL, arguments.problems, arguments.seed);
    let bench = Bench::new(&loaded, &problems, arguments.timed.get())?;
    let n_layers = loaded.model.layers().len();

    let mut rows = Vec::new();
    for spec in TABLE {
        rows.push(bench.row(&spec.parse()?)?);
    }
    let depths = 1..=n_layers;
    let curve = |kind: &str| -> Result<Vec<Row>, Box<dyn Error>> {
        // A budget of one layer is left to exits.
        let least = if kind == "exit" { 1 } else { 2 };
        depths.clone().filter(|k| *k >= least).map(|k| bench.quality(&format!("{kind}:{k}").parse()?)).collect()
    };
    let (uniform, influence, exit) = (curve("uniform")?, curve("influence")?, curve("exit")?);
    let confidence = THRESHOLDS.iter().map(|t| bench.quality(&format!("confidence:{t}").parse::<ControllerSpec>()?));
    let confidence = confidence.collect::<Result<Vec<Row>, Box<dyn Error>>>()?;

    let candidates: Vec<&Row> = exit.iter().chain(&uniform).collect();
    let oracle = oracle::run(&bench, &candidates)?;
    rows.push(oracle.row.clone());

    let mut out = std::io::stdout();
    show::table(&mut out, &rows, &bench)?;
    show::oracle(&mut out, &oracle)?;
    lossless::table(&mut out, &bench)?;
    let depths = arguments.out.join("depths.svg");
    show::depth_map(&mut out, &bench, &depths)?;
    let curves = [("uniform", &uniform), ("influence", &influence), ("exit", &exit), ("confidence", &confidence)];
    let router = rows.iter().find(|row| row.name.starts_with("router"));
    let files = plot::write(&arguments.out, &curves, router, &oracle)?;
    let depths = depths.display();
    writeln!(out, "\nQuality against depth: {files}\nThe answers above as an image: {depths}")?;
    Ok(())
}
