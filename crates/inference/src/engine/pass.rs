//! One pass of a batch through the layers.

use super::KvPolicy;
use super::plan::Plan;
use crate::control::{Action, Controller, Phase, Row, Site, Watch};
use crate::generation::GenerateError;
use crate::report::{LayerTime, PhaseReport, Ran, Route};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use dynlayer_model::{Block, Frame, KvCache, LayerKv, Llama};
use std::time::Instant;

/// What goes into a pass.
pub(crate) struct PassInput<'a> {
    pub(crate) model: &'a Llama,
    /// `[rows, tokens]`.
    pub(crate) tokens: Tensor<2, Int>,
    pub(crate) frame: &'a Frame,
    pub(crate) rows: &'a [Row],
    /// Per row, how many of the pass's first tokens are padding.
    pub(crate) padding: &'a [usize],
    pub(crate) phase: Phase,
    /// Whether the controller decides, or only looks.
    pub(crate) controlled: bool,
    pub(crate) kv_policy: KvPolicy,
}

/// What comes out.
pub(crate) struct Pass {
    /// The residual stream after the last layer, `[rows, tokens, d_model]`.
    pub(crate) hidden: Tensor<3>,
    /// What each row ran.
    pub(crate) routes: Vec<Route>,
}

/// Runs the layers as the controller decides, writes the cache, and adds to the report.
pub(crate) fn run<C: Controller + ?Sized>(
    input: PassInput<'_>,
    controller: &mut C,
    cache: &mut KvCache,
    report: &mut PhaseReport,
) -> Result<Pass, GenerateError> {
    let PassInput { model, tokens, frame, rows, padding, phase, controlled, kv_policy } = input;
    let real: Vec<u64> = padding.iter().map(|pad| frame.tokens().saturating_sub(*pad) as u64).collect();
    let embedded = model.embed(tokens); // [rows, tokens, d_model]
    let mut hidden = embedded.clone();
    let mut exited = vec![false; rows.len()];
    let mut routes = vec![Route::default(); rows.len()];
    report.layers.resize(model.layers().len(), LayerTime::default());

    for (layer, block) in model.layers().iter().enumerate() {
        let kv = cache.layer_mut(layer);
        let asked = Instant::now();
        let decision = if exited.iter().all(|exited| *exited) {
            Action::Skip.into()
        } else {
            let watch = Watch::default();
            let site = Site { model, layer, phase, rows, hidden: &hidden, embedded: &embedded, padding, watch: &watch };
            let decision = if controlled {
                controller.decide(&site)
            } else {
                controller.observe(&site);
                Action::Run.into()
            };
            report.host_reads += watch.host_reads.get() as u64;
            report.count_head_products(watch.head_products.get());
            if let Some(failure) = watch.failure.into_inner() {
                return Err(failure.into());
            }
            if let Some(fault) = watch.fault.into_inner() {
                return Err(GenerateError::Contract { layer, expected: fault.expected, found: fault.found });
            }
            decision
        };
        let started = Instant::now();
        report.controller_seconds += (started - asked).as_secs_f64();
        let plan = Plan::new(decision, frame.tokens(), &mut exited)
            .map_err(|(expected, found)| GenerateError::Contract { layer, expected, found })?;
        let ran = match plan {
            Plan::Gate(gate, ran) => {
                let update = block.forward(hidden.clone(), frame, kv) - hidden.clone();
                hidden = hidden + update * gate.unsqueeze_dim::<3>(2);
                ran
            }
            Plan::Rows(ran) => {
                hidden = attention(block, hidden, &ran, frame, kv, kv_policy);
                hidden = feed_forward(block, hidden, &ran);
                ran
            }
        };
        if count(&ran, report, &real) {
            report.layers[layer].launched += 1;
            report.layers[layer].seconds += started.elapsed().as_secs_f64();
        }
        for (route, ran) in routes.iter_mut().zip(ran) {
            route.push(ran);
        }
    }
    cache.advance(frame.tokens());
    report.passes += 1;
    report.tokens += real.iter().sum::<u64>();
    Ok(Pass { hidden, routes })
}

/// The attention sublayer for the rows that run it; keys and values for all of them, as the policy says.
fn attention(
    block: &Block,
    hidden: Tensor<3>,
    ran: &[Ran],
    frame: &Frame,
    kv: &mut LayerKv,
    policy: KvPolicy,
) -> Tensor<3> {
    match share(ran.iter().map(|ran| ran.attention)) {
        Share::None => match policy {
            KvPolicy::Propagate => {
                block.propagate(hidden.clone(), frame, kv);
                hidden
            }
        },
        Share::All => block.attention(hidden, frame, kv),
        // The keys and values that the skippers write here come from the state entering the layer: what `Propagate` says.
        Share::Some(runs) => keep_skippers(&runs, block.attention(hidden.clone(), frame, kv), hidden),
    }
}

/// The MLP sublayer for the rows that run it.
fn feed_forward(block: &Block, hidden: Tensor<3>, ran: &[Ran]) -> Tensor<3> {
    match share(ran.iter().map(|ran| ran.mlp)) {
        Share::None => hidden,
        Share::All => block.feed_forward(hidden),
        Share::Some(runs) => keep_skippers(&runs, block.feed_forward(hidden.clone()), hidden),
    }
}

/// How many rows run a sublayer.
enum Share {
    None,
    Some(Vec<bool>),
    All,
}

fn share(runs: impl Iterator<Item = bool>) -> Share {
    let runs: Vec<bool> = runs.collect();
    match (runs.contains(&true), runs.contains(&false)) {
        (false, _) => Share::None,
        (true, false) => Share::All,
        (true, true) => Share::Some(runs),
    }
}

/// `ran` for the rows that run, `kept` for the others; `[rows, tokens, d_model]` all.
fn keep_skippers(runs: &[bool], ran: Tensor<3>, kept: Tensor<3>) -> Tensor<3> {
    let shape @ [rows, _, _] = ran.dims();
    let runs = Tensor::<3, Bool>::from_data(TensorData::new(runs.to_vec(), [rows, 1, 1]), &ran.device());
    kept.mask_where(runs.expand(shape), ran)
}

/// Adds one layer to the counts; `real` are the rows' tokens without padding. Says whether anything was launched.
fn count(ran: &[Ran], report: &mut PhaseReport, real: &[u64]) -> bool {
    let all: u64 = real.iter().sum();
    let running = |runs: fn(&Ran) -> bool| ran.iter().zip(real).filter(|(ran, _)| runs(ran)).map(|(_, n)| n).sum();
    let (attention, mlp): (u64, u64) = (running(|ran| ran.attention), running(|ran| ran.mlp));
    let (any_attention, any_mlp) = (ran.iter().any(|ran| ran.attention), ran.iter().any(|ran| ran.mlp));
    report.nominal.attention += attention;
    report.nominal.mlp += mlp;
    report.nominal.kv_projections += all - attention;
    report.executed.attention += if any_attention { all } else { 0 };
    report.executed.mlp += if any_mlp { all } else { 0 };
    report.executed.kv_projections += if any_attention { 0 } else { all };
    any_attention || any_mlp
}
