//! Speculation beside plain decoding: the same prompts in turn, their tokens and their times.

use dynlayer::inference::controllers::FullDepth;
use dynlayer::inference::report::SpeculationReport;
use dynlayer::inference::{Controller, SequenceOptions, Session, SessionOptions, Speculation};
use dynlayer::model::Llama;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;

/// The comparison of speculation with plain decoding, for one drafter and some prompts.
#[derive(Debug, Serialize)]
pub struct SpeculationRow {
    /// The controller that drafted.
    pub drafter: String,
    /// The prompts, in a word.
    pub prompts: String,
    /// The number of tokens that decode passes produced.
    pub tokens: u64,
    /// Tokens per second of plain decoding.
    pub plain_tok_s: f64,
    /// Tokens per second of speculative decoding.
    pub speculative_tok_s: f64,
    /// The ratio of the two.
    pub speed_up: f64,
    /// The report of the rounds.
    pub report: SpeculationReport,
    /// The number of prompts whose tokens were not those of plain decoding.
    pub differing: usize,
    /// The tokens of each prompt's continuation with speculation.
    #[serde(skip)]
    pub continuations: Vec<Vec<u32>>,
}

impl SpeculationRow {
    /// The head of a table of rows.
    pub const HEAD: &str = "drafter               prompts             tokens  plain tok/s  spec. tok/s  speed-up  by its report  \
                            accepted  tokens/round";
}

impl fmt::Display for SpeculationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drafter, prompts, tokens, plain_tok_s, speculative_tok_s, speed_up, report, .. } = self;
        let dash = || "-".to_owned();
        let total = report.total_speed_up().map_or_else(dash, |x| format!("{x:.2}"));
        let accepted = report.acceptance().map_or_else(dash, |share| format!("{:.0} %", 100.0 * share));
        let per_round = report.tokens_per_round().map_or_else(dash, |tokens| format!("{tokens:.2}"));
        write!(f, "{drafter:20}  {prompts:18}  {tokens:6}  {plain_tok_s:11.1}  {speculative_tok_s:11.1}")?;
        write!(f, "  {speed_up:8.2}  {total:>13}  {accepted:>8}  {per_round:>12}")
    }
}

/// Prompts, and the way in which they are generated.
pub struct Prompts<'a> {
    /// The prompts, in a word.
    pub name: &'a str,
    /// The prompts' token ids.
    pub prompts: &'a [Vec<u32>],
    /// The number of prompts that are generated together.
    pub batch: NonZeroUsize,
    /// The number of times that each prompt is run in each way.
    pub repeat: NonZeroUsize,
    /// The settings of the sessions; their speculation is that of the drafting one.
    pub session: SessionOptions<'a>,
    /// The options of each sequence.
    pub sequence: SequenceOptions,
}

impl Prompts<'_> {
    /// Generates every prompt with and without speculation, in turn, and compares tokens and times. `controller` makes the
    /// drafter.
    ///
    /// # Errors
    /// If a generation fails.
    pub fn compare(
        &self,
        model: &Llama,
        drafter: &str,
        controller: impl Fn() -> Result<Box<dyn Controller + Send>, Box<dyn Error>>,
    ) -> Result<SpeculationRow, Box<dyn Error>> {
        let speculation: Speculation = self.session.speculation.unwrap_or_default();
        let plain = SessionOptions { speculation: None, ..self.session.clone() };
        let settings = SessionOptions { speculation: Some(speculation), ..self.session.clone() };
        // The first time warms up. It is not measured, and what the session learns is not kept.
        let warm = &self.prompts[..self.prompts.len().min(1)];
        let original = &model.without_adapter();
        self.generate(&mut Session::new(original, FullDepth, plain.clone())?, warm)?;
        self.generate(&mut Session::new(model, controller()?, settings.clone())?, warm)?;

        let mut plain = Session::new(original, FullDepth, plain)?;
        let mut drafting = Session::new(model, controller()?, settings)?;
        let (mut continuations, mut differing) = (Vec::new(), 0);
        for repetition in 0..self.repeat.get() {
            for (i, prompts) in self.prompts.chunks(self.batch.get()).enumerate() {
                let plain_first = (repetition + i) % 2 == 0;
                let mut expected = if plain_first { self.generate(&mut plain, prompts)? } else { Vec::new() };
                let found = self.generate(&mut drafting, prompts)?;
                if !plain_first {
                    expected = self.generate(&mut plain, prompts)?;
                }
                differing += expected.iter().zip(&found).filter(|(expected, found)| expected != found).count();
                if repetition == 0 {
                    continuations.extend(found);
                }
            }
        }
        let (plain, speculative) = (&plain.report().decode, drafting.report());
        let (plain_tok_s, speculative_tok_s) =
            (plain.tokens_per_second().unwrap_or(0.0), speculative.decode.tokens_per_second().unwrap_or(0.0));
        Ok(SpeculationRow {
            drafter: drafter.to_owned(),
            prompts: self.name.to_owned(),
            tokens: plain.spent.tokens,
            plain_tok_s,
            speculative_tok_s,
            speed_up: if plain_tok_s > 0.0 { speculative_tok_s / plain_tok_s } else { 1.0 },
            report: speculative.speculation.clone().unwrap_or_default(),
            differing,
            continuations,
        })
    }

    /// Returns the tokens of each prompt's continuation.
    fn generate<C: Controller>(
        &self,
        session: &mut Session<'_, C>,
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        for (id, prompt) in (0..).zip(prompts) {
            session.push(id, prompt, self.sequence.clone())?;
        }
        while !session.is_idle() {
            session.step()?;
        }
        let taken = (0..).zip(prompts).filter_map(|(id, _)| session.cancel(id));
        Ok(taken.map(|taken| taken.completion.tokens).collect())
    }
}
