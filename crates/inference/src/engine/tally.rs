//! The counts of a pass.

use crate::control::{Phase, Ran, Row};
use crate::report::{LayerUsage, PhaseReport, RunReport, Shared, Spent};
use dynlayer_metrics::cost::{Counts, Dimensions};
use dynlayer_model::Llama;
use std::collections::BTreeMap;

/// The work of one pass, counted for each row and in launches.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The work that the decisions asked for, in tokens, one entry per row.
    pub(super) nominal: Vec<Counts>,
    /// The work that ran, in tokens, one entry per row.
    pub(super) executed: Vec<Counts>,
    /// The number of launches of each kind. A launch counts once, however many rows share it.
    pub(crate) launches: Counts,
    /// The number of weights read for each row. The weights that a launch reads are divided among the rows that asked
    /// for the launch.
    weights: Vec<f64>,
    /// The number of times that the controller waited for the device.
    pub(crate) host_reads: u64,
    /// Wall time inside the controller, in seconds.
    pub(crate) controller_seconds: f64,
    dimensions: Dimensions,
    /// The number of tokens of each row, without padding.
    tokens: Vec<usize>,
    /// The number of positions that each row's tokens attend to in total, holes included, in a layer without a window.
    positions: Vec<u64>,
    /// For each layer with a window, the number of these positions that it hides, row by row.
    hidden: BTreeMap<usize, Vec<u64>>,
    /// `true` if the pass predicts a token for every row.
    predicts: bool,
    layers: Vec<LayerUsage>,
}

impl Tally {
    pub(super) fn new(dimensions: Dimensions, windows: &BTreeMap<usize, usize>, rows: &[Row]) -> Self {
        let tokens: Vec<usize> = rows.iter().map(|row| row.tokens).collect();
        let zero = vec![Counts::default(); tokens.len()];
        let positions = rows.iter().map(|row| {
            // The last token sees `end` positions, and every other token one fewer than the token after it.
            let (n, end) = (row.tokens as u64, row.position as u64 + 1);
            n * end - n * n.saturating_sub(1) / 2
        });
        let positions = positions.collect();
        let hidden = windows.iter().map(|(layer, window)| {
            // A text's token number `window + 1` is the first that does not see all before it: one is hidden from it,
            // and from every other token one more than from the token before.
            let from_first = |tokens: usize| {
                let n = tokens.saturating_sub(*window) as u64;
                n * (n + 1) / 2
            };
            let end = |row: &Row| row.position + 1;
            let hides = |row: &Row| from_first(end(row)) - from_first(end(row).saturating_sub(row.tokens));
            (*layer, rows.iter().map(hides).collect())
        });
        let hidden = hidden.collect();
        Self {
            nominal: zero.clone(),
            executed: zero,
            launches: Counts::default(),
            weights: vec![0.0; tokens.len()],
            host_reads: 0,
            controller_seconds: 0.0,
            dimensions,
            tokens,
            positions,
            hidden,
            predicts: false,
            layers: vec![LayerUsage::default(); dimensions.n_layers],
        }
    }

    /// Counts a layer of which at least one sublayer was launched, which took this time.
    pub(super) fn launched(&mut self, layer: usize, seconds: f64) {
        self.layers[layer].launched += 1;
        self.layers[layer].seconds += seconds;
    }

    /// Counts the sublayers of a layer that a row asked for.
    pub(super) fn usage(&mut self, layer: usize, row: usize, ran: Ran) {
        let (usage, tokens) = (&mut self.layers[layer], self.tokens[row] as u64);
        usage.attention += if ran.attention { tokens } else { 0 };
        usage.mlp += if ran.mlp { tokens } else { 0 };
    }

    /// Counts a layer's attention that the rows `runs` asked for and that ran for the rows `launched`; `holes` returns
    /// the number of holes that a row's tokens have before them, summed over the tokens.
    pub(super) fn attention(
        &mut self,
        layer: usize,
        runs: &[usize],
        launched: &[usize],
        holes: impl Fn(usize) -> usize,
    ) {
        let hidden = self.hidden.get(&layer);
        let attended = |row: usize| self.positions[row] - hidden.map_or(0, |hidden| hidden[row]);
        for row in runs {
            let counts = &mut self.nominal[*row];
            counts.attention += self.tokens[*row] as u64;
            counts.attended += attended(*row) - holes(*row) as u64;
        }
        for row in launched {
            let counts = &mut self.executed[*row];
            counts.attention += self.tokens[*row] as u64;
            counts.attended += attended(*row);
        }
        self.launches.attention += 1;
        self.add_weights(runs, self.dimensions.attention_weights());
    }

    /// Counts an MLP that the rows `runs` asked for and that ran for the rows `launched`.
    pub(super) fn mlp(&mut self, runs: &[usize], launched: &[usize]) {
        for row in runs {
            self.nominal[*row].mlp += self.tokens[*row] as u64;
        }
        for row in launched {
            self.executed[*row].mlp += self.tokens[*row] as u64;
        }
        self.launches.mlp += 1;
        self.add_weights(runs, self.dimensions.mlp_weights());
    }

    /// Counts keys and values of a row's tokens that skip the attention: those of `due` tokens were needed, and those
    /// of `computed` tokens had to be computed.
    pub(super) fn keys_values(&mut self, row: usize, due: usize, computed: usize) {
        self.nominal[row].kv_projections += due as u64;
        self.executed[row].kv_projections += computed as u64;
    }

    /// Counts one launch of the K/V projections alone, for these rows; without rows, no launch.
    pub(super) fn projection(&mut self, rows: &[usize]) {
        if !rows.is_empty() {
            self.launches.kv_projections += 1;
            self.add_weights(rows, self.dimensions.kv_weights());
        }
    }

    /// Counts one product with the head for these rows; without rows, no product. It never runs for rows that did not
    /// ask for it, so nominal and executed work are the same.
    pub(crate) fn head(&mut self, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        for row in rows {
            self.nominal[*row].head_products += 1;
            self.executed[*row].head_products += 1;
        }
        self.launches.head_products += 1;
        self.add_weights(rows, self.dimensions.head_weights());
    }

    /// Counts the products with the head that predict the rows' next tokens. They run only for the rows `missing`; the
    /// controller has computed and counted the others.
    pub(super) fn prediction(&mut self, missing: &[usize]) {
        self.predicts = true;
        self.head(missing);
    }

    /// The work of a row at full depth, without head products for the controller.
    fn full(&self, row: usize) -> Counts {
        let (n_layers, tokens) = (self.dimensions.n_layers as u64, self.tokens[row] as u64);
        Counts {
            attention: n_layers * tokens,
            attended: n_layers * self.positions[row] - self.hidden.values().map(|hidden| hidden[row]).sum::<u64>(),
            mlp: n_layers * tokens,
            head_products: u64::from(self.predicts),
            ..Counts::default()
        }
    }

    fn add_weights(&mut self, rows: &[usize], weights: f64) {
        for row in rows {
            self.weights[*row] += weights / rows.len() as f64;
        }
    }

    /// Adds this pass to a report. `sequences` are the rows' indices among the report's sequences.
    pub(crate) fn add_to(&self, report: &mut RunReport, phase: Phase, sequences: &[usize]) {
        let mut total = PhaseReport {
            passes: 1,
            launches: self.launches,
            host_reads: self.host_reads,
            controller_seconds: self.controller_seconds,
            layers: self.layers.clone(),
            ..PhaseReport::default()
        };
        for (row, sequence) in sequences.iter().enumerate() {
            let (nominal, executed) = (self.nominal[row], self.executed[row]);
            let spent = Spent { tokens: self.tokens[row] as u64, nominal, executed, full: self.full(row) };
            total.spent += spent;
            let shared = Shared {
                weight_bytes: self.dimensions.bytes_per_weight * self.weights[row],
                host_reads: self.host_reads,
                controller_seconds: self.controller_seconds / sequences.len() as f64,
            };
            let sequence = &mut report.sequences[*sequence];
            if phase == Phase::Prefill {
                sequence.prefill += spent;
                sequence.prefill_shared += shared;
            } else {
                sequence.decode += spent;
                sequence.decode_shared += shared;
            }
        }
        *report.phase_mut(phase) += &total;
    }
}

/// The dimensions of a model, from which its cost is computed.
pub(crate) fn dimensions(model: &Llama) -> Dimensions {
    let config = model.config();
    Dimensions {
        n_layers: model.layers().len(),
        d_model: config.d_model,
        d_ff: config.d_ff,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        vocab_size: config.vocab_size,
        bytes_per_weight: bytes_per_weight(model),
    }
}

/// The mean number of bytes per weight of the matrices that passes multiply with. In a quantised file, it can differ
/// from matrix to matrix.
fn bytes_per_weight(model: &Llama) -> f64 {
    let layers = model.layers().iter().flat_map(|block| {
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        let projections = [&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj];
        projections.into_iter().chain([&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj]).map(|map| &map.weight)
    });
    let head = model.lm_head.as_ref().map_or(&model.embed_tokens, |head| &head.weight);
    let (mut bytes, mut weights) = (0, 0);
    for matrix in layers.chain([head]) {
        let [rows, columns] = matrix.dims();
        bytes += matrix.bytes();
        weights += rows * columns;
    }
    bytes as f64 / weights as f64
}
