//! One pass of a batch through the layers.

use super::partial::Chooser;
use super::plan::Plan;
use super::policy_cache::PolicyCache;
use super::stream::Stream;
use super::sublayers::Sublayers;
use super::tally::Tally;
use crate::control::{Action, Controller, PassError, Phase, Ran, Route, Row, Site, SiteLog};
use crate::report::{LayerUsage, PhaseReport};
use burn::tensor::{Int, Tensor};
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::{Frame, Llama};
use std::time::Instant;

/// The input of a pass.
pub(crate) struct PassInput<'a> {
    pub(crate) model: &'a Llama,
    /// The token ids, `[rows, tokens]`.
    pub(crate) tokens: Tensor<2, Int>,
    pub(crate) frame: &'a Frame,
    pub(crate) rows: &'a [Row],
    /// The number of padding tokens at the start of the pass, for each row.
    pub(crate) padding: &'a [usize],
    pub(crate) phase: Phase,
    /// `true` if the controller decides, `false` if it only observes.
    pub(crate) controlled: bool,
    pub(crate) chooser: Chooser,
    pub(crate) dimensions: Dimensions,
    /// `true` if the states that enter the layers are returned in [`Pass::states`].
    pub(crate) keep_states: bool,
}

/// The output of a pass.
pub(crate) struct Pass {
    /// The residual stream after the last layer, `[rows, tokens, d_model]`.
    pub(crate) hidden: Tensor<3>,
    /// The route of each row.
    pub(crate) routes: Vec<Route>,
    pub(crate) tally: Tally,
    /// The residual stream entering each layer, `[rows, tokens, d_model]` each; empty unless [`PassInput::keep_states`]
    /// is set.
    pub(crate) states: Vec<Tensor<3>>,
}

/// Runs the layers as the controller decides, writes the cache, and adds times and layer usage to the report.
pub(crate) fn run<C: Controller + ?Sized>(
    input: PassInput<'_>,
    controller: &mut C,
    cache: &mut PolicyCache,
    report: &mut PhaseReport,
) -> Result<Pass, PassError> {
    let PassInput { model, tokens, frame, rows, padding, phase, controlled, chooser, dimensions, keep_states } = input;
    let real = padding.iter().map(|pad| frame.tokens().saturating_sub(*pad)).collect();
    let tally = Tally::new(dimensions, real, rows.iter().map(|row| row.position));
    let embedded = model.embed(tokens); // [rows, tokens, d_model]
    let mut exited = vec![false; rows.len()];
    let mut routes = vec![Route::default(); rows.len()];
    let mut states = Vec::new();
    let (everyone, stream) = ((0..rows.len()).collect(), Stream::new(embedded.clone()));
    let mut pass = Sublayers { model, frame, rows, everyone, chooser, dimensions, cache, stream, tally };
    report.layers.resize(model.layers().len(), LayerUsage::default());

    for layer in 0..model.layers().len() {
        if keep_states {
            states.push(pass.stream.hidden().clone());
        }
        let asked = Instant::now();
        let decision = if exited.iter().all(|exited| *exited) {
            Action::Skip.into()
        } else {
            let log = SiteLog::default();
            let hidden = pass.stream.hidden();
            let site = Site { model, layer, phase, rows, hidden, embedded: &embedded, padding, log: &log };
            let decision = if controlled {
                controller.decide(&site)
            } else {
                controller.observe(&site);
                Action::Run.into()
            };
            pass.tally.host_reads += log.host_reads.get() as u64;
            for rows in log.heads.borrow().iter() {
                pass.tally.head(rows);
            }
            match log.error.into_inner() {
                Some(error) => return Err(error),
                None => decision,
            }
        };
        let started = Instant::now();
        pass.tally.controller_seconds += (started - asked).as_secs_f64();
        let plan = Plan::new(decision, frame.tokens(), &mut exited)
            .map_err(|(expected, found)| PassError::Contract { layer, expected, found })?;
        let launches = pass.tally.launches.sublayers();
        let ran = match plan {
            Plan::Everything => {
                pass.everything(layer);
                None
            }
            Plan::Gate(gate, ran) => {
                let runs: Vec<bool> = ran.iter().map(|ran| ran.attention).collect();
                pass.gated(layer, gate, &runs);
                Some(ran)
            }
            Plan::Rows(ran) => {
                let attention: Vec<bool> = ran.iter().map(|ran| ran.attention).collect();
                let mlp: Vec<bool> = ran.iter().map(|ran| ran.mlp).collect();
                pass.attention(layer, &attention);
                pass.feed_forward(layer, &mlp);
                Some(ran)
            }
        };
        let usage = &mut report.layers[layer];
        if pass.tally.launches.sublayers() > launches {
            usage.launched += 1;
            usage.seconds += started.elapsed().as_secs_f64();
        }
        for (row, route) in routes.iter_mut().enumerate() {
            let ran = ran.as_ref().map_or(Ran { attention: true, mlp: true }, |ran| ran[row]);
            usage.attention += if ran.attention { pass.tally.tokens(row) as u64 } else { 0 };
            usage.mlp += if ran.mlp { pass.tally.tokens(row) as u64 } else { 0 };
            route.push(ran);
        }
    }
    let Sublayers { cache, stream, tally, .. } = pass;
    cache.advance(frame.tokens());
    report.host_reads += tally.host_reads;
    report.controller_seconds += tally.controller_seconds;
    Ok(Pass { hidden: stream.hidden().clone(), routes, tally, states })
}

/// Reads logits to the host, row after row. The only other host reads of a pass are those of the controller.
pub(crate) fn read_logits(logits: &Tensor<3>) -> Result<Vec<f32>, PassError> {
    let failed = |error: &dyn std::fmt::Debug| PassError::Device(format!("{error:?}"));
    let data = logits.clone().try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}
