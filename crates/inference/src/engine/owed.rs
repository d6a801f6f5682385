//! Keys and values that are still to be computed, for `KvPolicy::Deferred`.

use burn::tensor::{Tensor, s};
use dynlayer_model::{Block, Frame, LayerKv, Llama};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The residual stream of a pass, kept for layers whose attention some rows skipped.
#[derive(Debug)]
pub(super) struct State {
    /// The residual stream, `[rows, tokens, d_model]`.
    hidden: Tensor<3>,
    /// The first slot of the pass.
    start: usize,
    /// The position of the last token of the pass, for each row.
    last: Vec<usize>,
    meter: Arc<Meter>,
}

/// The size of all kept states in bytes: the current one and the largest so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    now: AtomicU64,
    most: AtomicU64,
}

impl Meter {
    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl State {
    pub(super) fn new(hidden: Tensor<3>, start: usize, last: Vec<usize>, meter: &Arc<Meter>) -> Self {
        let state = Self { hidden, start, last, meter: meter.clone() };
        let now = meter.now.fetch_add(state.bytes(), Ordering::Relaxed) + state.bytes();
        meter.most.fetch_max(now, Ordering::Relaxed);
        state
    }

    fn bytes(&self) -> u64 {
        4 * self.hidden.dims().iter().product::<usize>() as u64
    }

    fn select_rows(&self, rows: &[usize]) -> Self {
        let last = rows.iter().map(|row| self.last[*row]).collect();
        Self::new(dynlayer_model::select_rows(self.hidden.clone(), rows), self.start, last, &self.meter)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// The debts of one layer, oldest pass first.
#[derive(Debug, Default, Clone)]
pub(super) struct Owed(Vec<Debt>);

/// The keys and values of one pass that a layer owes.
#[derive(Debug, Clone)]
struct Debt {
    /// The state to compute them from; `None` if they are in the cache already, because the attention ran for other
    /// rows and wrote them.
    state: Option<Arc<State>>,
    /// The number of tokens whose keys and values are owed, for each row.
    tokens: Vec<usize>,
}

/// The debts of a row that were settled, in tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// Tokens whose keys and values were owed.
    pub(super) due: usize,
    /// Tokens whose keys and values had to be computed.
    pub(super) computed: usize,
}

impl Owed {
    /// Adds the debt of a pass in which `tokens[row]` tokens of each row skip the attention. `state` is `None` if their
    /// keys and values are in the cache already.
    pub(super) fn add(&mut self, state: Option<Arc<State>>, tokens: Vec<usize>) {
        self.0.push(Debt { state, tokens });
    }

    /// Computes all keys and values owed to these rows in one projection, before their attention runs, and returns the
    /// settled debts of each row.
    pub(super) fn settle(&mut self, rows: &[usize], model: &Llama, block: &Block, kv: &mut LayerKv) -> Vec<Settled> {
        let mut settled = vec![Settled::default(); rows.len()];
        let mut states = Vec::new(); // [1, tokens, d_model] each
        let mut positions = Vec::new();
        let mut runs: Vec<Slots> = Vec::new();
        for (row, settled) in rows.iter().zip(&mut settled) {
            for debt in &mut self.0 {
                let tokens = std::mem::take(&mut debt.tokens[*row]);
                settled.due += tokens;
                let Some(state) = debt.state.as_ref().filter(|_| tokens > 0) else { continue };
                settled.computed += tokens;
                let end = state.hidden.dims()[1];
                states.push(state.hidden.clone().slice(s![*row..=*row, end - tokens.., ..]));
                positions.extend(state.last[*row] + 1 - tokens..=state.last[*row]);
                let slot = state.start + end - tokens;
                match runs.last_mut() {
                    Some(run) if run.row == *row && run.slot + run.tokens == slot => run.tokens += tokens,
                    _ => runs.push(Slots { row: *row, slot, tokens }),
                }
            }
        }
        self.drop_settled();
        if !states.is_empty() {
            let hidden = Tensor::cat(states, 1); // [1, owed tokens, d_model]
            let frame = Frame::new(model.rope(), 0, &[positions], &[0], &hidden.device());
            let (k, v) = block.keys_values(hidden, &frame); // [1, kv_heads, owed tokens, head_dim]
            let mut from = 0;
            for Slots { row, slot, tokens } in runs {
                let part = |x: &Tensor<4>| x.clone().narrow(2, from, tokens);
                kv.write(Some(&[row]), slot, part(&k), part(&v));
                from += tokens;
            }
        }
        settled
    }

    fn drop_settled(&mut self) {
        self.0.retain(|debt| debt.tokens.iter().any(|tokens| *tokens > 0));
    }
}

/// A run of consecutive slots of one row.
struct Slots {
    row: usize,
    slot: usize,
    tokens: usize,
}

/// Keeps the given rows of all layers, in the given order. Layers that share a state still share one afterwards.
pub(super) fn select_rows(layers: &mut [Owed], rows: &[usize]) {
    let mut selected: HashMap<*const State, Arc<State>> = HashMap::new();
    for owed in layers {
        for debt in &mut owed.0 {
            debt.tokens = rows.iter().map(|row| debt.tokens[*row]).collect();
        }
        owed.drop_settled();
        for state in owed.0.iter_mut().filter_map(|debt| debt.state.as_mut()) {
            let select = || Arc::new(state.select_rows(rows));
            *state = selected.entry(Arc::as_ptr(state)).or_insert_with(select).clone();
        }
    }
}
