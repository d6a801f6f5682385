//! Agreement of a device's results with a reference and with the CPU.

use super::Arguments;
use super::record::Record;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::{
    Action, ControlFrom, Controller, Decision, GenerateOptions, PartialSkips, Row, RunSettings, ScoreItem,
    ScoreOptions, Site, controller_fn, generate, score_batch,
};
use dynlayer::metrics::random;
use dynlayer::model::{Backend, DeviceSpec, Llama, WeightDtype};
use dynlayer_examples::arguments::ModelArguments;
use dynlayer_examples::{Loaded, embedded};
use dynlayer_tiny::{self as tiny, Task, problems};
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;

/// The controllers under which the embedded model answers.
const CONTROLLERS: [&str; 4] = ["full", "exit:9", "confidence:0.9", "router:router.safetensors"];

/// The purpose of the draws that make up routes.
const ROUTE: [u8; 8] = *b"GpuRoute";

/// The largest differences that are no failure.
struct Tolerance {
    /// Of the largest logits from the reference's.
    logits: f64,
    /// Of logits under random routes, as a share of the largest: in another order of sums on the same device.
    routes: f64,
    /// The same from the CPU's.
    cpu: f64,
    /// `true` if greedy token ids must equal the reference's.
    ids: bool,
}

impl Tolerance {
    fn of(arguments: &Arguments) -> Self {
        match (arguments.dtype, arguments.model.device.backend) {
            // The rounding of f32, grown over 30 layers of which some are skipped.
            (WeightDtype::F32, Backend::Flex | Backend::NdArray | Backend::Wgpu) => {
                Self { logits: 1e-3, routes: 1e-4, cpu: 1e-3, ids: true }
            }
            // On CUDA, burn may compute f32 products in TF32, whose rounding is f16's, 2^-11.
            (WeightDtype::F32, _) => Self { logits: 5e-2, routes: 3e-2, cpu: 3e-2, ids: true },
            _ => Self { logits: 0.2, routes: 3e-2, cpu: 3e-2, ids: false },
        }
    }
}

/// Compares with the file's largest logits and greedy token ids.
pub fn reference(
    loaded: &Loaded,
    arguments: &Arguments,
    file: &Path,
    record: &mut Record,
) -> Result<(), Box<dyn Error>> {
    let tolerance = Tolerance::of(arguments);
    let json: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let ids = |value: &Value| -> Result<Vec<u32>, Box<dyn Error>> { Ok(serde_json::from_value(value.clone())?) };
    for (i, case) in json["cases"].as_array().ok_or("no cases")?.iter().enumerate() {
        let prompt = ids(&case["prompt_token_ids"])?;
        let expected: Vec<(usize, f64)> = serde_json::from_value(case["last_logits_top20"].clone())?;
        let item = ScoreItem { prompt: prompt.clone(), continuation: vec![0] };
        let options = ScoreOptions { keep_logits: true, ..ScoreOptions::default() };
        let scores = score_batch(&loaded.model, full(), &[item], &options)?;
        let logits = &scores.sequences[0].tokens[0].logits;
        let worst = expected.iter().map(|(id, logit)| (f64::from(logits[*id]) - logit).abs()).fold(0.0, f64::max);
        record.check(&format!("top-20 logits, case {i}"), worst <= tolerance.logits, json!(worst));

        let expected = ids(&case["greedy_32_token_ids_ignoring_eos"])?;
        let options = GenerateOptions { max_new_tokens: expected.len(), ..GenerateOptions::default() };
        let (completions, _) = generate(&loaded.model, full(), &[prompt], options)?.finish()?;
        let equal = completions[0].tokens.iter().zip(&expected).take_while(|(found, id)| found == id).count();
        let all = equal == expected.len();
        record.check(&format!("greedy ids, case {i}"), all || !tolerance.ids, json!(equal));
    }
    Ok(())
}

/// The token ids of answers, and the number of right ones.
type Answers = (Vec<Vec<u32>>, usize);

/// Counts right answers of the embedded model on the device and on flex.
pub fn embedded(arguments: &ModelArguments, count: u64, record: &mut Record) -> Result<(), Box<dyn Error>> {
    let open = |device: DeviceSpec| Loaded::open(&ModelArguments::embedded(device), WeightDtype::F32, true);
    let (device, cpu) = (open(arguments.device)?, open(Backend::Flex.into())?);
    let problems = problems(&Task::ALL, count, 1);
    let encode = |problem: &tiny::Problem| device.tokenizer.encode(&problem.prompt, false);
    let prompts = problems.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    for spec in CONTROLLERS {
        let answers = |loaded: &Loaded| -> Result<Answers, Box<dyn Error>> {
            let resources = tiny::resources().texts(embedded::calibration(&loaded.tokenizer)?);
            let controller = spec.parse::<ControllerSpec>()?.build(&loaded.model, &resources)?;
            let options = tiny::options(&loaded.tokenizer);
            let (completions, _) = generate(&loaded.model, controller, &prompts, options)?.finish()?;
            let right = problems.iter().zip(&completions).filter(|(p, c)| p.solved_by(&c.text)).count();
            Ok((completions.into_iter().map(|completion| completion.tokens).collect(), right))
        };
        let ((found, right), (expected, right_on_cpu)) = (answers(&device)?, answers(&cpu)?);
        let equal = found.iter().zip(&expected).filter(|(found, expected)| found == expected).count();
        let close = right.abs_diff(right_on_cpu) * 50 <= problems.len(); // two in a hundred: near ties may fall apart
        let found = json!({"right": right, "right_on_cpu": right_on_cpu, "equal": equal, "problems": problems.len()});
        record.check(&format!("embedded, {spec}"), close, found);
    }
    Ok(())
}

/// Scores a text under random routes in four ways.
pub fn routes(loaded: &Loaded, arguments: &Arguments, routes: u64, record: &mut Record) -> Result<(), Box<dyn Error>> {
    let on_cpu = Loaded::open(
        &ModelArguments { device: Backend::Flex.into(), ..arguments.model.clone() },
        arguments.dtype,
        true,
    )?;
    let tolerance = Tolerance::of(arguments);
    let vocabulary = u32::try_from(loaded.model.config().vocab_size)?;
    let text = |from: u32, tokens: u32| (0..tokens).map(|i| (from * 37 + i * 101) % vocabulary).collect::<Vec<u32>>();
    let (mut masked_worst, mut gathered_worst, mut cpu_worst) = (0.0, 0.0, 0.0);
    for seed in 0..routes {
        let item = |from, n| ScoreItem { prompt: text(from, n), continuation: text(from + 1, 8) };
        let items = [item(u32::try_from(seed)?, 7), item(11, 9), item(200 + u32::try_from(seed)?, 4)];
        let score = |model: &Llama, items: &[ScoreItem], ids: Vec<u64>, partial_skips| -> Result<_, Box<dyn Error>> {
            let run =
                RunSettings { control_from: ControlFrom::LastPromptToken, partial_skips, ..RunSettings::default() };
            let options = ScoreOptions { run, keep_logits: true, sequence_ids: ids, ..ScoreOptions::default() };
            let scores = score_batch(model, drawn(seed), items, &options)?;
            let tokens = scores.sequences.into_iter().map(|s| s.tokens.into_iter().flat_map(|t| t.logits).collect());
            Ok(tokens.collect::<Vec<Vec<f32>>>())
        };
        // Alone, a row skips; in a batch whose second row runs everything, it is masked or gathered.
        let alone = score(&loaded.model, &items[..1], vec![0], PartialSkips::default())?;
        let masked = score(&loaded.model, &items, vec![0, 1, 2], PartialSkips::RunAll)?;
        let gathered = score(&loaded.model, &items, vec![0, 1, 2], PartialSkips::Gather)?;
        let cpu = score(&on_cpu.model, &items[..1], vec![0], PartialSkips::default())?;
        masked_worst = difference(&masked[0], &alone[0]).max(masked_worst);
        gathered_worst = difference(&gathered[0], &alone[0]).max(gathered_worst);
        cpu_worst = difference(&alone[0], &cpu[0]).max(cpu_worst);
    }
    record.check("skipped equals masked", masked_worst <= tolerance.routes, json!(masked_worst));
    record.check("skipped equals gathered", gathered_worst <= tolerance.routes, json!(gathered_worst));
    record.check("skipped equals the CPU", cpu_worst <= tolerance.cpu, json!(cpu_worst));
    Ok(())
}

/// Returns a controller that draws a route for each token of the sequence with id 0; others run everything.
fn drawn(seed: u64) -> impl Controller {
    controller_fn(move |site: &Site<'_>| {
        let action = |row: &Row| {
            if row.id != 0 {
                return Action::Run;
            }
            let (token, layer) = (row.generated as u64, site.layer() as u64);
            match random::derive(ROUTE, seed, [token, layer, 0]) % 10 {
                0..=4 => Action::Run,
                5..=7 => Action::Skip,
                8 => Action::SkipAttention,
                _ => Action::SkipMlp,
            }
        };
        Decision::per_row(site.rows().iter().map(action))
    })
}

/// Returns the largest difference of two lists of logits, as a share of the largest of the second.
fn difference(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    if found.len() == expected.len() && worst.is_finite() { f64::from(worst / largest) } else { f64::INFINITY }
}

fn full() -> impl Controller {
    dynlayer::inference::controllers::FullDepth
}
