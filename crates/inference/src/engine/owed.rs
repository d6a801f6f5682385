//! Keys and values that are still to be computed, for `KvPolicy::Deferred`.

use burn::tensor::Tensor;
use dynlayer_model::{Block, LayerKv, Llama};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A row's residual stream in one pass, kept for layers whose attention the row skipped.
#[derive(Debug)]
pub(super) struct State {
    /// The residual stream, `[1, tokens, d_model]`.
    hidden: Tensor<3>,
    /// The slot of the first token.
    slot: usize,
    /// The position of the first token.
    position: usize,
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
    pub(super) fn new(hidden: Tensor<3>, slot: usize, position: usize, meter: &Arc<Meter>) -> Self {
        let state = Self { hidden, slot, position, meter: meter.clone() };
        let now = meter.now.fetch_add(state.bytes(), Ordering::Relaxed) + state.bytes();
        meter.most.fetch_max(now, Ordering::Relaxed);
        state
    }

    fn bytes(&self) -> u64 {
        4 * self.hidden.dims().iter().product::<usize>() as u64
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// The debts of one layer to one sequence, oldest first.
#[derive(Debug, Default, Clone)]
pub(super) struct Owed(Vec<Debt>);

/// The keys and values of one pass that a layer owes.
#[derive(Debug, Clone)]
struct Debt {
    /// The state to compute them from; `None` if they are in the cache already, because the attention ran for other
    /// rows and wrote them.
    state: Option<Arc<State>>,
    slots: Range<usize>,
}

/// The debts of a sequence that were settled, in tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// Tokens whose keys and values were owed.
    pub(super) due: usize,
    /// Tokens whose keys and values had to be computed.
    pub(super) computed: usize,
}

impl Owed {
    /// Adds the debt of a pass that skips the attention. `state` is `None` if the keys and values are in the cache
    /// already.
    pub(super) fn add(&mut self, state: Option<Arc<State>>, slots: Range<usize>) {
        self.0.push(Debt { state, slots });
    }

    /// Forgets the debts of the slots from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        for debt in &mut self.0 {
            debt.slots.end = debt.slots.end.min(len);
        }
        self.0.retain(|debt| !debt.slots.is_empty());
    }
}

/// Debts that are being settled, of several sequences at one layer.
#[derive(Default)]
pub(super) struct Settlement {
    /// The states to project, `[1, tokens, d_model]` each.
    states: Vec<Tensor<3>>,
    positions: Vec<usize>,
    runs: Vec<Slots>,
}

/// A run of consecutive slots of one row of the cache.
struct Slots {
    row: usize,
    slots: Range<usize>,
}

impl Settlement {
    /// Takes all debts to the sequence in this row of the cache.
    pub(super) fn take(&mut self, owed: &mut Owed, row: usize) -> Settled {
        let mut settled = Settled::default();
        for Debt { state, slots } in owed.0.drain(..) {
            settled.due += slots.len();
            let Some(state) = state else { continue };
            settled.computed += slots.len();
            let from = slots.start - state.slot;
            self.states.push(state.hidden.clone().narrow(1, from, slots.len()));
            self.positions.extend((0..slots.len()).map(|i| state.position + from + i));
            match self.runs.last_mut() {
                Some(run) if run.row == row && run.slots.end == slots.start => run.slots.end = slots.end,
                _ => self.runs.push(Slots { row, slots }),
            }
        }
        settled
    }

    /// Computes all keys and values in one projection, and writes them to the cache.
    pub(super) fn project(self, model: &Llama, block: &Block, kv: &mut LayerKv) {
        let Self { states, positions, runs } = self;
        if states.is_empty() {
            return;
        }
        let hidden = Tensor::cat(states, 1); // [1, owed tokens, d_model]
        let rotation = model.rope().at(&[positions], &hidden.device());
        let (k, v) = block.keys_values(hidden, &rotation); // [1, kv_heads, owed tokens, head_dim]
        let mut from = 0;
        for Slots { row, slots } in runs {
            let part = |x: &Tensor<4>| x.clone().narrow(2, from, slots.len());
            kv.write_slots(row, slots.start, part(&k), part(&v));
            from += slots.len();
        }
    }
}
