//! One pass of some rows through the layers.

use super::partial::Chooser;
use super::plan::{Misfit, Plan};
use super::policy_cache::PolicyCache;
use super::stream::Stream;
use super::sublayers::Sublayers;
use super::tally::Tally;
use crate::control::{
    Action, Controller, ControllerError, Decision, Event, Logits, Pass, Phase, Place, Ran, Route, Row, Site, SiteLog,
};
use burn::tensor::Tensor;
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::{Frame, Llama, select_rows};
use std::ops::Range;
use std::time::Instant;

/// The input of a pass.
pub(crate) struct PassInput<'a> {
    pub(crate) model: &'a Llama,
    /// The residual stream that enters the first of the layers, `[rows, tokens, d_model]`: usually the embeddings of the
    /// tokens, padded on the left where a row has fewer tokens.
    pub(crate) hidden: Tensor<3>,
    /// The layers to run.
    pub(crate) layers: Range<usize>,
    pub(crate) frame: &'a Frame,
    pub(crate) rows: Vec<Row>,
    pub(crate) phase: Phase,
    /// `true` if the controller decides, `false` if it only observes.
    pub(crate) controlled: bool,
    pub(crate) chooser: Chooser,
    pub(crate) dimensions: Dimensions,
    /// `true` if the states that enter the layers are returned in [`PassOutput::states`].
    pub(crate) keep_states: bool,
}

/// The output of a pass.
pub(crate) struct PassOutput {
    /// The residual stream after the last layer, `[rows, tokens, d_model]`.
    pub(crate) hidden: Tensor<3>,
    pub(crate) rows: Vec<Row>,
    /// The route of each row.
    pub(crate) routes: Vec<Route>,
    pub(crate) tally: Tally,
    /// The number of first layers that all rows ran in full.
    pub(crate) in_full: usize,
    /// The residual stream entering each layer, `[rows, tokens, d_model]` each; empty unless
    /// [`PassInput::keep_states`] is set.
    pub(crate) states: Vec<Tensor<3>>,
    /// The logits, `[1, vocab_size]`, of each row for which the controller computed them where the row exited.
    exit_logits: Vec<Option<Tensor<2>>>,
}

/// Runs the layers as the controller decides, and writes the cache.
///
/// After an error, the cache holds some of the pass's keys and values; [`PolicyCache::truncate`] drops them.
pub(crate) fn run(
    input: PassInput<'_>,
    controller: &mut dyn Controller,
    cache: &mut PolicyCache,
) -> Result<PassOutput, ControllerError> {
    let PassInput { model, hidden: entering, layers, frame, mut rows, .. } = input;
    let PassInput { phase, controlled, chooser, dimensions, keep_states, .. } = input;
    for row in &mut rows {
        row.asked = controlled;
    }
    let started = Instant::now();
    controller.on(&Event::Pass(&Pass { phase, controlled, rows: &rows }))?;
    let mut tally = Tally::new(dimensions, &model.config().windows, &rows);
    tally.controller_seconds += started.elapsed().as_secs_f64();
    let n = rows.len();
    let (everyone, stream) = ((0..n).collect(), Stream::new(entering.clone()));
    let sublayers = Sublayers { model, frame, rows, everyone, chooser, dimensions, cache, stream, tally };
    let exits = Exits { exited: vec![false; n], logits: vec![None; n] };
    let mut pass = Walk {
        controller,
        phase,
        controlled,
        embedded: entering,
        sublayers,
        exits,
        in_full: layers.start,
        gated: false,
    };
    let mut routes = vec![Route::default(); n];
    let mut states = Vec::new();

    for layer in layers {
        if keep_states {
            states.push(pass.sublayers.stream.hidden().clone());
        }
        let launches = pass.sublayers.tally.launches.sublayers();
        let (ran, seconds) = pass.layer(layer)?;
        let full = |ran: &Ran| ran.attention && ran.mlp;
        pass.in_full +=
            usize::from(!pass.gated && pass.in_full == layer && ran.as_ref().is_none_or(|ran| ran.iter().all(full)));
        let tally = &mut pass.sublayers.tally;
        if tally.launches.sublayers() > launches {
            tally.launched(layer, seconds);
        }
        for (row, route) in routes.iter_mut().enumerate() {
            let ran = ran.as_ref().map_or(Ran { attention: true, mlp: true }, |ran| ran[row]);
            tally.usage(layer, row, ran);
            route.push(ran);
        }
    }
    pass.sublayers.propagate();
    let Sublayers { cache, stream, tally, mut rows, .. } = pass.sublayers;
    for row in &mut rows {
        row.asked = controlled;
    }
    cache.advance(frame);
    let (hidden, exit_logits, in_full) = (stream.hidden().clone(), pass.exits.logits, pass.in_full);
    Ok(PassOutput { hidden, rows, routes, tally, in_full, states, exit_logits })
}

/// A walk of some rows through the layers.
struct Walk<'a, 'c> {
    controller: &'c mut dyn Controller,
    phase: Phase,
    controlled: bool,
    embedded: Tensor<3>,
    sublayers: Sublayers<'a>,
    exits: Exits,
    /// The number of first layers that all rows ran in full.
    in_full: usize,
    /// `true` once a layer's update was multiplied by a gate, so that it is not that of the full layer.
    gated: bool,
}

/// The rows that have exited.
struct Exits {
    exited: Vec<bool>,
    /// The logits, `[1, vocab_size]`, that the controller computed where a row exited.
    logits: Vec<Option<Tensor<2>>>,
}

impl Walk<'_, '_> {
    /// Asks about a layer and runs it. Returns the sublayers that each row ran, or `None` if all ran everything; and
    /// the time that they took, in seconds.
    fn layer(&mut self, layer: usize) -> Result<(Option<Vec<Ran>>, f64), ControllerError> {
        let misfit = |(expected, found): Misfit| ControllerError::Contract { layer, expected, found };
        let tokens = self.sublayers.frame.tokens();
        let plan =
            self.ask(layer, Place::Layer, |decision, exited| Plan::new(decision, tokens, exited).map_err(misfit))?;
        if plan.runs_attention() {
            self.sublayers.propagate();
        }
        let started = Instant::now();
        let ran = match plan {
            Plan::Everything => {
                self.sublayers.everything(layer);
                None
            }
            Plan::Gate(gate, ran) => {
                let runs: Vec<bool> = ran.iter().map(|ran| ran.attention).collect();
                self.sublayers.gated(layer, gate, &runs);
                self.gated = true;
                Some(ran)
            }
            Plan::Rows(ran) => {
                self.attention(layer, &ran);
                self.feed_forward(layer, &ran);
                Some(ran)
            }
            Plan::Ask(mut ran, asks) => {
                self.attention(layer, &ran);
                let attention = started.elapsed();
                self.sublayers.rows.iter_mut().zip(&asks).for_each(|(row, asks)| row.asked = *asks);
                self.ask(layer, Place::Mlp, |decision, exited| {
                    Plan::mlp(decision, &asks, exited, &mut ran).map_err(misfit)
                })?;
                let started = Instant::now();
                self.feed_forward(layer, &ran);
                self.ask_live_rows();
                return Ok((Some(ran), (attention + started.elapsed()).as_secs_f64()));
            }
        };
        self.ask_live_rows();
        Ok((ran, started.elapsed().as_secs_f64()))
    }

    /// Asks the controller, or lets it observe, and interprets its decision with `plan`, which marks the rows that exit.
    fn ask<P>(
        &mut self,
        layer: usize,
        place: Place,
        plan: impl FnOnce(Decision, &mut [bool]) -> Result<P, ControllerError>,
    ) -> Result<P, ControllerError> {
        let Sublayers { model, rows, stream, tally, .. } = &mut self.sublayers;
        if !self.exits.exited.contains(&false) {
            return plan(Action::Skip.into(), &mut self.exits.exited);
        }
        let asked = Instant::now();
        let log = SiteLog::default();
        let (hidden, embedded) = (stream.hidden(), &self.embedded);
        let site = Site { model, layer, place, phase: self.phase, rows, hidden, embedded, log: &log };
        let decision = if self.controlled {
            self.controller.decide(&site)
        } else {
            self.controller.observe(&site).map(|()| Action::Run.into())
        };
        tally.host_reads += log.host_reads.get() as u64;
        let heads = log.heads.into_inner();
        for (rows, _) in &heads {
            tally.head(rows);
        }
        tally.controller_seconds += asked.elapsed().as_secs_f64();
        // Only where the controller has computed logits can they be used again.
        let before = if heads.is_empty() { Vec::new() } else { self.exits.exited.clone() };
        let planned = plan(decision?, &mut self.exits.exited)?;
        for row in (0..before.len()).filter(|row| self.exits.exited[*row] && !before[*row]) {
            let place = |(rows, logits): &(Vec<usize>, Tensor<2>)| {
                rows.iter().position(|of| *of == row).map(|at| logits.clone().narrow(0, at, 1))
            };
            self.exits.logits[row] = heads.iter().rev().find_map(place);
        }
        Ok(planned)
    }

    /// Makes the answers of all rows that have not exited count.
    fn ask_live_rows(&mut self) {
        for (row, exited) in self.sublayers.rows.iter_mut().zip(&self.exits.exited) {
            row.asked = self.controlled && !exited;
        }
    }

    fn attention(&mut self, layer: usize, ran: &[Ran]) {
        self.sublayers.attention(layer, &ran.iter().map(|ran| ran.attention).collect::<Vec<_>>());
    }

    fn feed_forward(&mut self, layer: usize, ran: &[Ran]) {
        self.sublayers.feed_forward(layer, &ran.iter().map(|ran| ran.mlp).collect::<Vec<_>>());
    }
}

impl PassOutput {
    /// The logits after each row's last token. `hidden` is the residual stream at these tokens after the last layer,
    /// `[rows, 1, d_model]`. Rows that exited where the controller had computed their logits need no further product.
    pub(crate) fn logits(&mut self, model: &Llama, hidden: &Tensor<3>) -> Logits {
        let missing: Vec<usize> = (0..self.rows.len()).filter(|row| self.exit_logits[*row].is_none()).collect();
        self.tally.prediction(&missing);
        let head = |hidden: Tensor<3>| model.logits(hidden).squeeze_dim::<2>(1);
        if missing.len() == self.rows.len() {
            return Logits::new(head(hidden.clone()));
        }
        if !missing.is_empty() {
            let computed = head(select_rows(hidden.clone(), &missing)); // [missing, vocab_size]
            for (at, row) in missing.into_iter().enumerate() {
                self.exit_logits[row] = Some(computed.clone().narrow(0, at, 1));
            }
        }
        Logits::new(Tensor::cat(std::mem::take(&mut self.exit_logits).into_iter().flatten().collect(), 0))
    }

    /// The logits after all tokens of all rows, row after row, of a pass in which no row exited.
    pub(crate) fn all_logits(&mut self, model: &Llama) -> Logits {
        self.tally.predictions();
        Logits::new(model.logits(self.hidden.clone()).flatten(0, 1))
    }
}
