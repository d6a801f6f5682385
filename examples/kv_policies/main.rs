//! Measures the cost of each KV policy and the distance of its predictions from full depth, for fixed routes and for
//! routes that change with every token.
//!
//! ```text
//! cargo run --example kv_policies -- --model DIR|FILE.gguf [--text FILE] [--skipped 2,4,6,10]
//! ```

use burn::tensor::{Tensor, TensorData};
use clap::Parser;
use dynlayer::inference::controllers::{FullDepth, UniformSkip};
use dynlayer::inference::{
    Action, ControlFrom, Controller, Decision, KvPolicy, Row, RunSettings, ScoreItem, ScoreOptions, ScoredSequence,
    Scores, Site, controller_fn, score_batch,
};
use dynlayer::metrics::distributions::LogProbs;
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_examples::arguments::{ModelArguments, trimmed};
use dynlayer_examples::output::warn;
use dynlayer_examples::{Loaded, described};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The default number of tokens of each prompt.
const PROMPT_TOKENS: usize = 32;
/// The default number of tokens of each continuation.
const TOKENS: usize = 64;

#[derive(Parser, Debug)]
#[command(about = "Measures the cost of each KV policy, and the distance of its predictions from full depth")]
struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// A text file to measure on; by default a short built-in text, or problems for the embedded model.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// The numbers of layers to skip.
    #[arg(long, value_name = "K,K,..", value_delimiter = ',', value_parser = trimmed::<usize>)]
    #[arg(default_value = "2,4,6,10")]
    skipped: Vec<usize>,
    /// The number of tokens of each prompt; the embedded model's problems have lengths of their own.
    #[arg(long, default_value_t = PROMPT_TOKENS)]
    prompt_tokens: usize,
    /// The number of tokens of each continuation.
    #[arg(long, default_value_t = TOKENS)]
    tokens: usize,
    /// The largest number of items: prompts with their continuations.
    #[arg(long, default_value_t = 8)]
    limit: usize,
}

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let lengths = (arguments.prompt_tokens, arguments.tokens);
    if arguments.model.model.is_none() && arguments.text.is_none() && lengths != (PROMPT_TOKENS, TOKENS) {
        warn("--prompt-tokens and --tokens have no effect on the embedded model's problems; give a text by --text");
    }
    let loaded = Loaded::open_as(&arguments.model, None, WeightDtype::F32, false)?;
    let items = dynlayer_examples::items(
        arguments.text.as_deref(),
        &arguments.model,
        &loaded,
        arguments.prompt_tokens,
        arguments.tokens,
        arguments.limit,
    )?;
    let model = loaded.model;
    let n_layers = model.layers().len();
    if let Some(k) = arguments.skipped.iter().find(|k| **k > n_layers.saturating_sub(2)) {
        return Err(
            format!("cannot skip {k} layers: of the model's {n_layers}, the first and the last always run").into()
        );
    }
    let full = score(&model, FullDepth, &items, KvPolicy::Propagate)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}; control from last-prompt-token, {n_layers} layers", described(&items))?;
    writeln!(out, "skipped  routes    policy     KL (nats)  top-1  K/V projections per token  owed states (kB)")?;
    for k in &arguments.skipped {
        for (routes, controller) in [("fixed", fixed as Make), ("changing", changing as Make)] {
            for policy in KvPolicy::ALL {
                let scores = score(&model, controller(n_layers, *k), &items, policy)?;
                let (kl, top1) = divergence(&model, &full, &scores)?;
                let decode = &scores.report.decode.spent;
                let projections = decode.executed.kv_projections as f64 / decode.tokens as f64;
                let owed = scores.report.owed_bytes as f64 / 1e3;
                writeln!(
                    out,
                    "{k:7}  {routes:8}  {policy:9}  {kl:9.4}  {top1:.3}  {projections:25.2}  {owed:16.1}",
                    policy = policy.to_string()
                )?;
            }
        }
    }
    Ok(())
}

type Make = fn(usize, usize) -> Box<dyn Controller>;

/// Returns a controller that runs the same, evenly spread layers for every token.
fn fixed(n_layers: usize, skipped: usize) -> Box<dyn Controller> {
    Box::new(UniformSkip::new(n_layers - skipped))
}

/// Returns a controller that skips different layers for every token, but neither the first nor the last.
fn changing(n_layers: usize, skipped: usize) -> Box<dyn Controller> {
    Box::new(controller_fn(move |site: &Site<'_>| {
        let action = |row: &Row| {
            let skips = drawn(row, n_layers, skipped).contains(&site.layer());
            if skips { Action::Skip } else { Action::Run }
        };
        Decision::per_row(site.rows().iter().map(action))
    }))
}

/// Draws `skipped` of the inner layers, from the row's id and position alone (a partial Fisher-Yates shuffle).
fn drawn(row: &Row, n_layers: usize, skipped: usize) -> Vec<usize> {
    let mut state =
        row.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (row.position as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut layers: Vec<usize> = (1..n_layers - 1).collect();
    for i in 0..skipped {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let left = (layers.len() - i) as u64;
        let j = i + usize::try_from((state >> 33) % left).unwrap_or(0);
        layers.swap(i, j);
    }
    layers.truncate(skipped);
    layers
}

fn score<C: Controller>(
    model: &Llama,
    controller: C,
    items: &[ScoreItem],
    kv_policy: KvPolicy,
) -> Result<Scores, Box<dyn Error>> {
    let options = ScoreOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, kv_policy, ..RunSettings::default() },
        keep_logits: true,
        ..ScoreOptions::default()
    };
    Ok(score_batch(model, controller, items, &options)?)
}

/// Returns the mean KL divergence of the full model's predictions from the others, in nats, and the top-1 agreement.
fn divergence(model: &Llama, full: &Scores, scores: &Scores) -> Result<(f64, f64), Box<dyn Error>> {
    let (mut kl, mut top1, mut tokens) = (0.0, 0.0, 0.0);
    for (full, found) in full.sequences.iter().zip(&scores.sequences) {
        let (full, found) = (log_probs(model, full)?, log_probs(model, found)?);
        let divergences = full.kl_divergence(&found)?;
        kl += divergences.iter().sum::<f64>();
        top1 += full.top1_agreement(&found)?.iter().filter(|same| **same).count() as f64;
        tokens += divergences.len() as f64;
    }
    Ok((kl / tokens, top1 / tokens))
}

fn log_probs(model: &Llama, scored: &ScoredSequence) -> Result<LogProbs, Box<dyn Error>> {
    let logits: Vec<f32> = scored.tokens.iter().flat_map(|token| token.logits.iter().copied()).collect();
    let shape = [scored.tokens.len(), model.config().vocab_size];
    Ok(LogProbs::from_logits(Tensor::from_data(TensorData::new(logits, shape), &model.device()))?)
}
