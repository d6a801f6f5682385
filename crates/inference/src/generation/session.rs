//! Passes of a batch, one per token: what generating and scoring share.

use super::GenerateError;
use super::prompt::{self, Padded};
use crate::control::{Batch, ControlFrom, Controller, Phase, Row, RunSettings};
use crate::engine::{self, Chooser, PassInput, PolicyCache};
use crate::report::{Route, RunReport, SequenceReport};
use burn::tensor::Tensor;
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::Llama;
use std::time::Instant;

/// Slots for new tokens that a cache begins with; it grows as they are used up.
const FIRST_SLOTS: usize = 256;

/// Settings that hold for every token of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) run: RunSettings,
    pub(super) keep_states: bool,
}

/// A batch under way: each step runs the passes that it takes to know what every live row says next.
#[derive(Debug)]
pub(super) struct Session<'a> {
    model: &'a Llama,
    settings: Settings,
    chooser: Chooser,
    cache: PolicyCache,
    live: Vec<Live>,
    /// Until the first pass.
    prompts: Option<Padded>,
    pub(super) report: RunReport,
}

/// A sequence that has not stopped.
#[derive(Debug)]
pub(super) struct Live {
    /// Into the report's sequences.
    pub(super) index: usize,
    pub(super) row: Row,
    padding: usize,
    /// Prompt and output.
    pub(super) seen: Vec<u32>,
}

/// What a step found out about each live row.
pub(super) struct Step {
    /// Row by row, `vocab_size` numbers each.
    pub(super) logits: Vec<f32>,
    pub(super) routes: Vec<Route>,
    /// `[rows, n_layers + 1, d_model]`: the states entering each layer and the final normed state, if asked for.
    pub(super) states: Option<Tensor<3>>,
    pub(super) phase: Phase,
}

impl<'a> Session<'a> {
    /// Lets the controller begin; nothing is computed yet. `prompts` have been checked.
    pub(super) fn begin<C: Controller + ?Sized>(
        model: &'a Llama,
        controller: &mut C,
        ids: &[u64],
        prompts: &[Vec<u32>],
        new_tokens: usize,
        settings: Settings,
    ) -> Result<Self, GenerateError> {
        controller.begin(&Batch::new(model, ids, prompts, settings.run.seed))?;
        let padded = prompt::pad(prompts);
        let width = padded.tokens.first().map_or(0, Vec::len);
        let sequence = |(id, prompt): (&u64, &Vec<u32>)| SequenceReport {
            id: *id,
            prompt_tokens: prompt.len() as u64,
            ..Default::default()
        };
        let dimensions = dimensions(model);
        let report = RunReport::new(dimensions, settings.run, ids.iter().zip(prompts).map(sequence).collect());
        let live = ids.iter().zip(prompts).zip(&padded.padding).enumerate();
        let live = live.map(|(index, ((id, prompt), padding))| Live {
            index,
            row: Row { id: *id, position: prompt.len() - 1, generated: 0 },
            padding: *padding,
            seen: prompt.clone(),
        });
        Ok(Self {
            model,
            chooser: Chooser::new(settings.run.partial_skips, &model.device()),
            live: live.collect(),
            cache: PolicyCache::new(model, prompts.len(), width + new_tokens.min(FIRST_SLOTS), settings.run.kv_policy),
            settings,
            prompts: Some(padded),
            report,
        })
    }

    pub(super) fn model(&self) -> &'a Llama {
        self.model
    }

    pub(super) fn live(&self) -> &[Live] {
        &self.live
    }

    /// The next token of a live row.
    pub(super) fn push(&mut self, row: usize, token: u32) {
        let live = &mut self.live[row];
        live.seen.push(token);
        live.row.generated += 1;
        live.row.position += 1;
        self.report.sequences[live.index].generated_tokens += 1;
    }

    /// Lets all rows go but these, given in ascending order, before the first step.
    pub(super) fn retain_prompts(&mut self, rows: &[usize]) {
        self.keep(rows);
        if let Some(prompts) = &mut self.prompts {
            prompts.select(rows);
        }
    }

    /// Lets all rows go but these, given in ascending order.
    pub(super) fn keep(&mut self, rows: &[usize]) {
        if rows.len() == self.live.len() {
            return;
        }
        if !rows.is_empty() {
            self.cache.select_rows(rows);
        }
        let mut row = 0;
        self.live.retain(|_| {
            row += 1;
            rows.binary_search(&(row - 1)).is_ok()
        });
    }

    /// Under `LastPromptToken`, runs the prompts but their last tokens, which no decision is about; what is left of the
    /// prompts is the next step's. Done before the first step, the rows can still be [forked](Self::fork).
    pub(super) fn prefill<C: Controller + ?Sized>(&mut self, controller: &mut C) -> Result<(), GenerateError> {
        let started = Instant::now();
        let Some(Padded { tokens, positions, padding }) = self.prompts.take() else { return Ok(()) };
        let last = tokens.first().map_or(0, Vec::len) - 1;
        if last > 0 {
            for live in &mut self.live {
                live.row.position = live.row.position.saturating_sub(1);
            }
            let (head, places) = (columns(&tokens, 0..last), columns(&positions, 0..last));
            self.pass(controller, &head, &places, Phase::Prefill, false, false)?;
            self.report.prefill.seconds += started.elapsed().as_secs_f64();
            for (live, places) in self.live.iter_mut().zip(&positions) {
                live.row.position = places[last];
            }
        }
        let (tokens, positions) = (columns(&tokens, last..last + 1), columns(&positions, last..last + 1));
        self.prompts = Some(Padded { tokens, positions, padding });
        Ok(())
    }

    /// A session in which the first row stands there once per id, to go so many ways from here. The report begins anew;
    /// nothing is computed.
    pub(super) fn fork(&self, ids: &[u64]) -> Self {
        let rows = vec![0; ids.len()];
        let mut cache = self.cache.clone();
        cache.select_rows(&rows);
        let mut prompts = self.prompts.clone();
        if let Some(prompts) = &mut prompts {
            prompts.select(&rows);
        }
        let before = &self.live[0];
        let live = ids.iter().enumerate().map(|(index, id)| Live {
            index,
            row: Row { id: *id, ..before.row.clone() },
            padding: before.padding,
            seen: before.seen.clone(),
        });
        let prompt_tokens = self.report.sequences[before.index].prompt_tokens;
        let sequence = |id: &u64| SequenceReport { id: *id, prompt_tokens, ..Default::default() };
        let report = RunReport::new(self.report.dimensions, self.settings.run, ids.iter().map(sequence).collect());
        Self {
            model: self.model,
            settings: self.settings,
            chooser: self.chooser,
            cache,
            live: live.collect(),
            prompts,
            report,
        }
    }

    /// Runs what it takes to know every live row's next token: the prompts first, then a pass per call.
    pub(super) fn step<C: Controller + ?Sized>(&mut self, controller: &mut C) -> Result<Step, GenerateError> {
        if self.settings.run.control_from == ControlFrom::LastPromptToken {
            self.prefill(controller)?;
        }
        let started = Instant::now();
        let Some(Padded { tokens, positions, .. }) = self.prompts.take() else {
            let tokens: Vec<Vec<u32>> =
                self.live.iter().map(|live| live.seen[live.seen.len() - 1..].to_vec()).collect();
            let positions: Vec<Vec<usize>> = self.live.iter().map(|live| vec![live.row.position]).collect();
            return self.last(controller, &tokens, &positions, Phase::Decode, true, started);
        };
        if self.settings.run.control_from != ControlFrom::LastPromptToken {
            let asks = self.settings.run.control_from == ControlFrom::All;
            return self.last(controller, &tokens, &positions, Phase::Prefill, asks, started);
        }
        // The last prompt token is controlled, and those before it were not: two passes.
        self.last(controller, &tokens, &positions, Phase::Decode, true, started)
    }

    /// The pass after which the rows' next tokens are known.
    fn last<C: Controller + ?Sized>(
        &mut self,
        controller: &mut C,
        tokens: &[Vec<u32>],
        positions: &[Vec<usize>],
        phase: Phase,
        asks: bool,
        started: Instant,
    ) -> Result<Step, GenerateError> {
        let pass = self.pass(controller, tokens, positions, phase, asks, true)?;
        let last_token = |x: &Tensor<3>| x.clone().narrow(1, x.dims()[1] - 1, 1); // [rows, 1, d_model]
        let normed = self.model.final_norm(last_token(&pass.hidden));
        let states = self.settings.keep_states.then(|| {
            let states = pass.states.iter().map(last_token).chain([normed.clone()]);
            Tensor::cat(states.collect(), 1)
        });
        let logits = engine::read_logits(&self.model.head(normed))?;
        self.report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
        Ok(Step { logits, routes: pass.routes, states, phase })
    }

    /// One pass over equally long rows; `asks` the controller or lets it look, `chooses` if logits of the last tokens will be wanted.
    fn pass<C: Controller + ?Sized>(
        &mut self,
        controller: &mut C,
        tokens: &[Vec<u32>],
        positions: &[Vec<usize>],
        phase: Phase,
        asks: bool,
        chooses: bool,
    ) -> Result<engine::Pass, GenerateError> {
        let padding: Vec<usize> = self.live.iter().map(|live| live.padding).collect();
        let frame = self.cache.frame(self.model, positions, &padding);
        let of_pass: Vec<usize> =
            padding.iter().map(|pad| pad.saturating_sub(frame.start()).min(frame.tokens())).collect();
        let rows: Vec<Row> = self.live.iter().map(|live| live.row.clone()).collect();
        let views: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let input = PassInput {
            model: self.model,
            tokens: self.model.tokens(&views),
            frame: &frame,
            rows: &rows,
            padding: &of_pass,
            phase,
            controlled: asks,
            chooser: self.chooser,
            dimensions: self.report.dimensions,
            keep_states: self.settings.keep_states && chooses,
        };
        let mut pass = engine::run(input, controller, &mut self.cache, self.report.phase_mut(phase))?;
        if chooses {
            pass.tally.head(&(0..rows.len()).collect::<Vec<_>>());
        }
        let indices: Vec<usize> = self.live.iter().map(|live| live.index).collect();
        let real: Vec<usize> = of_pass.iter().map(|pad| frame.tokens() - pad).collect();
        self.report.count_pass(phase, &indices, &real, &pass.tally);
        self.report.owed_bytes = self.cache.owed_bytes();
        Ok(pass)
    }
}

/// The dimensions that a model's cost is counted with.
pub(crate) fn dimensions(model: &Llama) -> Dimensions {
    let config = model.config();
    #[expect(clippy::cast_precision_loss, reason = "2 or 4")]
    let bytes_per_weight =
        model.layers().first().map_or(0, |block| block.mlp.down_proj.weight.val().dtype().size()) as f64;
    Dimensions {
        n_layers: model.layers().len(),
        d_model: config.d_model,
        d_ff: config.d_ff,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        vocab_size: config.vocab_size,
        bytes_per_weight,
    }
}

fn columns<T: Clone>(rows: &[Vec<T>], range: std::ops::Range<usize>) -> Vec<Vec<T>> {
    rows.iter().map(|row| row[range.clone()].to_vec()).collect()
}
