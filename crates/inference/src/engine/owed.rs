//! `KvPolicy::Deferred`: the tokens whose keys and values a layer still owes.

use burn::tensor::{Tensor, s};
use dynlayer_model::{Block, Frame, LayerKv, Llama};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The residual stream of a pass, kept for the layers that skipped it.
#[derive(Debug)]
pub(super) struct State {
    /// `[rows, tokens, d_model]`.
    hidden: Tensor<3>,
    /// The pass's first slot.
    start: usize,
    /// Per row, the position of the pass's last token.
    last: Vec<usize>,
    meter: Arc<Meter>,
}

/// Bytes of the states that are kept, now and at most.
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
        Self::new(super::rows::select(&self.hidden, rows), self.start, last, &self.meter)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.meter.now.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// What one layer owes, oldest pass first.
#[derive(Debug, Default, Clone)]
pub(super) struct Owed(Vec<Debt>);

#[derive(Debug, Clone)]
struct Debt {
    /// From what the keys and values are to be computed; `None` if they are in the cache already, because the layer ran
    /// for another row and they came with it.
    state: Option<Arc<State>>,
    /// Per row, the tokens that are owed.
    tokens: Vec<usize>,
}

/// What settling cost, in tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// Tokens whose keys and values were due.
    pub(super) due: usize,
    /// Those that had to be computed for it.
    pub(super) computed: usize,
}

impl Owed {
    /// So many tokens per row skip this pass's attention. Without a state, their keys and values are in the cache all the
    /// same.
    pub(super) fn add(&mut self, state: Option<Arc<State>>, tokens: Vec<usize>) {
        self.0.push(Debt { state, tokens });
    }

    /// Computes what is owed to these rows, all at once, before their attention runs. What it cost, row by row.
    pub(super) fn settle(&mut self, rows: &[usize], model: &Llama, block: &Block, kv: &mut LayerKv) -> Vec<Settled> {
        let mut settled = vec![Settled::default(); rows.len()];
        let mut states = Vec::new(); // [1, tokens, d_model] each
        let mut positions = Vec::new();
        let mut places: Vec<Place> = Vec::new();
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
                match places.last_mut() {
                    Some(place) if place.row == *row && place.slot + place.tokens == slot => place.tokens += tokens,
                    _ => places.push(Place { row: *row, slot, tokens }),
                }
            }
        }
        self.forget_the_paid();
        if !states.is_empty() {
            let hidden = Tensor::cat(states, 1); // [1, owed tokens, d_model]
            let frame = Frame::new(model.rope(), 0, &[positions], &[0], &hidden.device());
            let (k, v) = block.keys_values(hidden, &frame); // [1, kv_heads, owed tokens, head_dim]
            let mut from = 0;
            for Place { row, slot, tokens } in places {
                let part = |x: &Tensor<4>| x.clone().narrow(2, from, tokens);
                kv.write(Some(&[row]), slot, part(&k), part(&v));
                from += tokens;
            }
        }
        settled
    }
}

impl Owed {
    fn forget_the_paid(&mut self) {
        self.0.retain(|debt| debt.tokens.iter().any(|tokens| *tokens > 0));
    }
}

/// Neighbouring slots of a row.
struct Place {
    row: usize,
    slot: usize,
    tokens: usize,
}

/// Keeps the given rows, in the given order, without giving up the sharing of states.
pub(super) fn select_rows(layers: &mut [Owed], rows: &[usize]) {
    let mut selected: HashMap<*const State, Arc<State>> = HashMap::new();
    for owed in layers {
        for debt in &mut owed.0 {
            debt.tokens = rows.iter().map(|row| debt.tokens[*row]).collect();
        }
        owed.forget_the_paid();
        for state in owed.0.iter_mut().filter_map(|debt| debt.state.as_mut()) {
            let select = || Arc::new(state.select_rows(rows));
            *state = selected.entry(Arc::as_ptr(state)).or_insert_with(select).clone();
        }
    }
}
