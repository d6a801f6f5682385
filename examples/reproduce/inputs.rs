//! The second experiment: the same router with several inputs.

use super::arguments::Arguments;
use dynlayer::inference::ControlFrom;
use dynlayer::inference::oracle::Shard;
use dynlayer::inference::training::{DepthLoss, RouterTraining, TrainingFolder};
use dynlayer::metrics::random;
use dynlayer_examples::study::{Study, StudyProgress, StudyReport, StudyTask};
use dynlayer_examples::text_task::{TextSettings, Texts};
use dynlayer_examples::tiny_task::{RouterKind, TinyTask};
use dynlayer_examples::{Loaded, PromptForm, progress_bar};
use std::error::Error;
use std::path::Path;

dynlayer::metrics::purposes! {
    /// The seeds of the study; the index is their number.
    STUDIED = b"studseed";
}

/// The kind of the routers, and the logit of every layer in an untrained one.
const ROUTER: (RouterKind, f32) = (RouterKind::Linear, 2.0);
/// The prices of running all layers, in nats per token.
const PRICES: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];
/// The number of items per training step, for the embedded model and for others.
const BATCH: (usize, usize) = (48, 8);
/// The number of problems of each task that routers of the embedded model are measured on.
const PROBLEMS: u64 = 50;
/// The largest number of tokens of a prompt and of a reference.
pub const TOKENS: usize = 48;

/// Refuses data that cannot be studied, before the work.
pub fn check(arguments: &Arguments, loaded: &Loaded) -> Result<(), Box<dyn Error>> {
    match &arguments.data {
        Some(data) if data.as_os_str() == "-" => {
            Err("--data - is read only once, and is needed twice; name a file".into())
        }
        Some(data) => texts(arguments, loaded, data).map(|_| ()),
        None => Ok(()),
    }
}

fn texts<'a>(arguments: &Arguments, loaded: &'a Loaded, data: &Path) -> Result<Texts<'a>, Box<dyn Error>> {
    let Loaded { checkpoint, tokenizer, model } = loaded;
    let bos = arguments.model.bos(tokenizer)?;
    let (items, batch) = (arguments.limit as u64, BATCH.1);
    let settings = TextSettings {
        router: ROUTER,
        batch,
        items,
        tokens: TOKENS,
        skip_long: true,
        stop_strings: arguments.stop.clone(),
    };
    let stops = checkpoint.stop_tokens(tokenizer)?;
    let form = PromptForm::new(&arguments.model, tokenizer, arguments.chat)?;
    Texts::open(data, model, tokenizer, (bos, stops), &form, &settings)
}

/// Trains and measures the routers, or a shard of them, of which there is no report.
pub fn study(
    arguments: &Arguments,
    loaded: &Loaded,
    shard: Option<Shard>,
) -> Result<Option<StudyReport>, Box<dyn Error>> {
    let Loaded { tokenizer, model, .. } = loaded;
    let Some(data) = &arguments.data else {
        let task = TinyTask::new(&arguments.model, model, tokenizer, ROUTER, BATCH.0, PROBLEMS)?;
        return run(arguments, loaded, &task, "problems", shard);
    };
    let task = texts(arguments, loaded, data)?;
    run(arguments, loaded, &task, &task.digest().to_string(), shard)
}

/// The prices and the number of seeds. Two prices are the fewest at which inputs can reach a depth in common.
pub fn prices(arguments: &Arguments) -> (&'static [f64], u64) {
    match (arguments.thorough, &arguments.data) {
        (true, _) => (&PRICES, 3),
        (false, None) => (&PRICES[1..4], 1),
        (false, Some(_)) => (&PRICES[2..4], 1),
    }
}

fn run<T: StudyTask>(
    arguments: &Arguments,
    loaded: &Loaded,
    task: &T,
    data: &str,
    shard: Option<Shard>,
) -> Result<Option<StudyReport>, Box<dyn Error>> {
    let mut training = RouterTraining::new(arguments.steps(), 1e-2, DepthLoss::Price { alpha: 0.0 });
    training.control_from = ControlFrom::LastPromptToken;
    let (prices, seeds) = prices(arguments);
    let prices = prices.iter().map(|alpha| DepthLoss::Price { alpha: *alpha });
    let seeds = (0..seeds).map(|seed| random::derive(STUDIED, arguments.seed, [seed, 0, 0]));
    let study = Study::new(training, prices, seeds);
    let path = arguments.out.join("study");
    let folder = TrainingFolder { path: &path, what: data };
    let bar = progress_bar(arguments.quiet, "{bar:30} {pos}/{len} steps, {elapsed}, left {eta}");
    let runs = study.inputs.len() * study.depths.len() * study.seeds.len();
    let runs = shard.map_or(runs, |shard| (0..runs).filter(|run| shard.has(*run)).count());
    bar.set_length(runs as u64 * arguments.steps());
    let progress = |progress: StudyProgress<'_>| match progress {
        StudyProgress::Step { .. } => bar.inc(1),
        StudyProgress::Run { done, .. } => bar.set_position(done as u64 * arguments.steps()),
        _ => {}
    };
    let report = match shard {
        Some(shard) => study.run_shard(&loaded.model, task, folder, shard, progress).map(|()| None)?,
        None => study.run(&loaded.model, task, Some(folder), progress).map(Some)?,
    };
    bar.finish_and_clear();
    Ok(report)
}
