//! A batch in progress, which runs one pass per token, for generation and scoring.

use super::GenerateError;
use super::prompt::{self, Padded};
use crate::control::{Batch, ControlFrom, Controller, Phase, Route, Row, RunSettings};
use crate::engine::{self, Chooser, PassInput, PolicyCache};
use crate::report::{RunReport, SequenceReport};
use burn::tensor::Tensor;
use dynlayer_model::Llama;
use std::time::Instant;

/// The largest number of slots for new tokens that a cache begins with. It grows when they are used up.
const FIRST_SLOTS: usize = 256;

/// Settings that hold for every token of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) run: RunSettings,
    pub(super) keep_states: bool,
}

/// A batch in progress. Each step runs the passes that predict the next token of every live row.
#[derive(Debug)]
pub(super) struct Session<'a> {
    model: &'a Llama,
    settings: Settings,
    chooser: Chooser,
    cache: PolicyCache,
    live: Vec<Live>,
    /// The part of the prompts that has not run yet.
    prompts: Option<Padded>,
    pub(super) report: RunReport,
}

/// A sequence that has not stopped.
#[derive(Debug)]
pub(super) struct Live {
    /// The index into the report's sequences.
    pub(super) index: usize,
    pub(super) row: Row,
    padding: usize,
    /// The tokens of prompt and output.
    pub(super) seen: Vec<u32>,
}

/// The predictions of a step for each live row.
pub(super) struct Step {
    /// The logits row after row, `vocab_size` numbers each.
    pub(super) logits: Vec<f32>,
    pub(super) routes: Vec<Route>,
    /// `[rows, n_layers + 1, d_model]`: the states entering each layer and the final normed state, if
    /// [`Settings::keep_states`] is set.
    pub(super) states: Option<Tensor<3>>,
    pub(super) phase: Phase,
}

/// The purpose of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Write keys and values only, while the controller observes.
    FillCache,
    /// Predict the rows' next tokens. The controller decides if `decides` is true, and only observes otherwise.
    Predict { decides: bool },
}

impl<'a> Session<'a> {
    /// Calls the controller's `begin` and computes nothing yet. The caller has checked the prompts.
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
        let report =
            RunReport::new(engine::dimensions(model), settings.run, ids.iter().zip(prompts).map(sequence).collect());
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

    /// Appends a token to a live row.
    pub(super) fn push(&mut self, row: usize, token: u32) {
        let live = &mut self.live[row];
        live.seen.push(token);
        live.row.generated += 1;
        live.row.position += 1;
        self.report.sequences[live.index].generated_tokens += 1;
    }

    /// Removes all rows except the given ones before the first step. `rows` are indices in ascending order.
    pub(super) fn retain_prompts(&mut self, rows: &[usize]) {
        self.keep(rows);
        if let Some(prompts) = &mut self.prompts {
            prompts.select(rows);
        }
    }

    /// Removes all rows except the given ones. `rows` are indices in ascending order.
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

    /// Runs all tokens of the prompts but the last, uncontrolled, as [`ControlFrom::LastPromptToken`] requires; the
    /// next step runs the last ones. Until that step, the rows can be [forked](Self::fork).
    pub(super) fn prefill<C: Controller + ?Sized>(&mut self, controller: &mut C) -> Result<(), GenerateError> {
        let started = Instant::now();
        let Some(Padded { tokens, positions, padding }) = self.prompts.take() else { return Ok(()) };
        let last = tokens.first().map_or(0, Vec::len) - 1;
        if last > 0 {
            for live in &mut self.live {
                live.row.position = live.row.position.saturating_sub(1);
            }
            let (head, places) = (columns(&tokens, 0..last), columns(&positions, 0..last));
            self.pass(controller, &head, &places, Phase::Prefill, Purpose::FillCache)?;
            self.report.prefill.seconds += started.elapsed().as_secs_f64();
            for (live, places) in self.live.iter_mut().zip(&positions) {
                live.row.position = places[last];
            }
        }
        let (tokens, positions) = (columns(&tokens, last..last + 1), columns(&positions, last..last + 1));
        self.prompts = Some(Padded { tokens, positions, padding });
        Ok(())
    }

    /// Copies the first row once per id, so that the copies can continue independently. The new session has an empty
    /// report.
    pub(super) fn fork(&self, ids: &[u64]) -> Self {
        let rows = vec![0; ids.len()];
        let mut cache = self.cache.clone();
        cache.select_rows(&rows);
        let mut prompts = self.prompts.clone();
        if let Some(prompts) = &mut prompts {
            prompts.select(&rows);
        }
        let first = &self.live[0];
        let live = ids.iter().enumerate().map(|(index, id)| Live {
            index,
            row: Row { id: *id, ..first.row.clone() },
            padding: first.padding,
            seen: first.seen.clone(),
        });
        let prompt_tokens = self.report.sequences[first.index].prompt_tokens;
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

    /// Predicts every live row's next token. The first call runs the prompts; every later call runs one pass.
    pub(super) fn step<C: Controller + ?Sized>(&mut self, controller: &mut C) -> Result<Step, GenerateError> {
        if self.settings.run.control_from == ControlFrom::LastPromptToken {
            self.prefill(controller)?;
        }
        let started = Instant::now();
        let Some(Padded { tokens, positions, .. }) = self.prompts.take() else {
            let tokens: Vec<Vec<u32>> =
                self.live.iter().map(|live| live.seen[live.seen.len() - 1..].to_vec()).collect();
            let positions: Vec<Vec<usize>> = self.live.iter().map(|live| vec![live.row.position]).collect();
            return self.predict(controller, &tokens, &positions, Phase::Decode, true, started);
        };
        if self.settings.run.control_from != ControlFrom::LastPromptToken {
            let decides = self.settings.run.control_from == ControlFrom::All;
            return self.predict(controller, &tokens, &positions, Phase::Prefill, decides, started);
        }
        // The other prompt tokens have run uncontrolled in an earlier pass. The last one is controlled.
        self.predict(controller, &tokens, &positions, Phase::Decode, true, started)
    }

    /// Runs a pass and predicts each row's next token.
    fn predict<C: Controller + ?Sized>(
        &mut self,
        controller: &mut C,
        tokens: &[Vec<u32>],
        positions: &[Vec<usize>],
        phase: Phase,
        decides: bool,
        started: Instant,
    ) -> Result<Step, GenerateError> {
        let pass = self.pass(controller, tokens, positions, phase, Purpose::Predict { decides })?;
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

    /// Runs one pass over rows of equal length.
    fn pass<C: Controller + ?Sized>(
        &mut self,
        controller: &mut C,
        tokens: &[Vec<u32>],
        positions: &[Vec<usize>],
        phase: Phase,
        purpose: Purpose,
    ) -> Result<engine::Pass, GenerateError> {
        let predicts = purpose != Purpose::FillCache;
        let padding: Vec<usize> = self.live.iter().map(|live| live.padding).collect();
        let frame = self.cache.frame(self.model, positions, &padding);
        let pass_padding: Vec<usize> =
            padding.iter().map(|pad| pad.saturating_sub(frame.start()).min(frame.tokens())).collect();
        let rows: Vec<Row> = self.live.iter().map(|live| live.row.clone()).collect();
        let views: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let input = PassInput {
            model: self.model,
            tokens: self.model.tokens(&views),
            frame: &frame,
            rows: &rows,
            padding: &pass_padding,
            phase,
            controlled: purpose == Purpose::Predict { decides: true },
            chooser: self.chooser,
            dimensions: self.report.dimensions,
            keep_states: self.settings.keep_states && predicts,
        };
        let mut pass = engine::run(input, controller, &mut self.cache, self.report.phase_mut(phase))?;
        if predicts {
            pass.tally.head(&(0..rows.len()).collect::<Vec<_>>());
        }
        let indices: Vec<usize> = self.live.iter().map(|live| live.index).collect();
        pass.tally.add_to(&mut self.report, phase, &indices);
        self.report.owed_bytes = self.cache.owed_bytes();
        Ok(pass)
    }
}

fn columns<T: Clone>(rows: &[Vec<T>], range: std::ops::Range<usize>) -> Vec<Vec<T>> {
    rows.iter().map(|row| row[range.clone()].to_vec()).collect()
}
