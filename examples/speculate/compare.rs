//! Prompts, generated with and without speculation in turn.

use crate::arguments::Arguments;
use dynlayer::inference::controllers::{ControllerSpec, FullDepth};
use dynlayer::inference::report::SpeculationReport;
use dynlayer::inference::{Accept, Controller, RunSettings, SequenceOptions, Session, SessionOptions};
use dynlayer_examples::Loaded;
use serde::Serialize;
use std::error::Error;
use std::fmt;

/// Prompts that are measured together.
pub struct Group {
    pub name: String,
    pub prompts: Vec<Vec<u32>>,
}

/// The comparison of one controller on some prompts.
#[derive(Debug, Serialize)]
pub struct Row {
    pub controller: String,
    pub prompts: String,
    /// The number of tokens that decode passes produced.
    pub tokens: u64,
    pub plain_tok_s: f64,
    pub speculative_tok_s: f64,
    /// The time of plain decoding over that of speculative decoding, for the same tokens.
    pub speed_up: f64,
    pub report: SpeculationReport,
}

impl Row {
    pub const HEAD: &str = "drafter               prompts         tokens  plain tok/s  spec. tok/s  speed-up  by its report  \
                            accepted  tokens/round";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { controller, prompts, tokens, plain_tok_s, speculative_tok_s, speed_up, report } = self;
        let dash = || "-".to_owned();
        let total = report.total_speed_up().map_or_else(dash, |x| format!("{x:.2}"));
        let accepted = report.acceptance().map_or_else(dash, |share| format!("{:.0} %", 100.0 * share));
        let rounds = report.rounds();
        let per_round = if rounds > 0 { format!("{:.2}", report.tokens as f64 / rounds as f64) } else { dash() };
        write!(f, "{controller:20}  {prompts:14}  {tokens:6}  {plain_tok_s:11.1}  {speculative_tok_s:11.1}")?;
        write!(f, "  {speed_up:8.2}  {total:>13}  {accepted:>8}  {per_round:>12}")
    }
}

/// Generates every prompt with and without speculation, in turn, and compares tokens and times.
pub fn compare(
    arguments: &Arguments,
    loaded: &Loaded,
    group: &Group,
    spec: &ControllerSpec,
    controller: impl Fn() -> Result<Box<dyn Controller + Send>, Box<dyn Error>>,
) -> Result<Row, Box<dyn Error>> {
    let Loaded { checkpoint, tokenizer, model } = loaded;
    let run = RunSettings { kv_policy: arguments.kv_policy, seed: arguments.seed, ..RunSettings::default() };
    let plain = SessionOptions { run, tokenizer: Some(tokenizer.into()), ..SessionOptions::default() };
    let speculative = SessionOptions { speculation: Some(arguments.speculation()), ..plain.clone() };
    let options = SequenceOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: checkpoint.stop_tokens(tokenizer)?,
        sampling: arguments.sampling(),
        ..SequenceOptions::default()
    };
    let same = arguments.accept == Accept::Same || arguments.sampling().temperature <= 0.0;
    // The first time warms up, and is not measured. What the session has learned of acceptance is not kept either.
    let warm = &group.prompts[..1];
    Session::new(model, FullDepth, plain.clone())?.generate(warm, &options)?;
    Session::new(model, controller()?, speculative.clone())?.generate(warm, &options)?;

    let mut plain = Session::new(model, FullDepth, plain)?;
    let mut drafting = Session::new(model, controller()?, speculative)?;
    for round in 0..arguments.rounds.get() {
        for (i, prompts) in group.prompts.chunks(arguments.batch.get()).enumerate() {
            let (expected, found) = if (round + i) % 2 == 0 {
                let expected = plain.generate(prompts, &options)?;
                (expected, drafting.generate(prompts, &options)?)
            } else {
                let found = drafting.generate(prompts, &options)?;
                (plain.generate(prompts, &options)?, found)
            };
            if same && expected != found {
                return Err(format!("{spec}, {}: the tokens differ from plain decoding's", group.name).into());
            }
        }
    }
    let (plain, drafted) = (&plain.report().decode, drafting.report());
    let speed = |seconds: f64| plain.spent.tokens as f64 / seconds;
    Ok(Row {
        controller: spec.to_string(),
        prompts: group.name.clone(),
        tokens: plain.spent.tokens,
        plain_tok_s: speed(plain.seconds),
        speculative_tok_s: drafted.decode.spent.tokens as f64 / drafted.decode.seconds,
        speed_up: drafted.decode.spent.tokens as f64 / drafted.decode.seconds / speed(plain.seconds),
        report: drafted.speculation.clone().unwrap_or_default(),
    })
}

/// Generation of some prompts in a session that goes on.
trait Generate {
    /// Returns the tokens of each prompt's continuation.
    fn generate(&mut self, prompts: &[Vec<u32>], options: &SequenceOptions) -> Result<Vec<Vec<u32>>, Box<dyn Error>>;
}

impl<C: Controller> Generate for Session<'_, C> {
    fn generate(&mut self, prompts: &[Vec<u32>], options: &SequenceOptions) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        for (id, prompt) in (0..).zip(prompts) {
            self.push(id, prompt, options.clone())?;
        }
        while !self.is_idle() {
            self.step()?;
        }
        Ok((0..).zip(prompts).filter_map(|(id, _)| self.cancel(id)).map(|taken| taken.completion.tokens).collect())
    }
}
