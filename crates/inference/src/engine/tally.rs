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
    ran: Extent,
    /// The tokens that the report counts: those of the pass, or of a round of speculation those that came out.
    counted: Extent,
    /// The number of tokens that the pass predicts for each row, as the report counts them.
    predicted: Vec<u64>,
    layers: Vec<LayerUsage>,
}

/// The tokens of the rows of a pass, and the positions that they attend to.
#[derive(Clone, Debug)]
struct Extent {
    /// The number of tokens of each row, without padding.
    tokens: Vec<usize>,
    /// The number of positions that each row's tokens attend to in total, holes included, in a layer without a window.
    positions: Vec<u64>,
    /// For each layer with a window, the number of these positions that it hides, row by row.
    hidden: BTreeMap<usize, Vec<u64>>,
}

impl Extent {
    fn new(windows: &BTreeMap<usize, usize>, rows: &[Row]) -> Self {
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
        Self { tokens: rows.iter().map(|row| row.tokens).collect(), positions, hidden: hidden.collect() }
    }

    /// The number of positions that a row's tokens attend to in a layer.
    fn attended(&self, layer: usize, row: usize) -> u64 {
        self.positions[row] - self.hidden.get(&layer).map_or(0, |hidden| hidden[row])
    }
}

impl Tally {
    pub(super) fn new(dimensions: Dimensions, windows: &BTreeMap<usize, usize>, rows: &[Row]) -> Self {
        let ran = Extent::new(windows, rows);
        let zero = vec![Counts::default(); rows.len()];
        Self {
            nominal: zero.clone(),
            executed: zero,
            launches: Counts::default(),
            weights: vec![0.0; rows.len()],
            host_reads: 0,
            controller_seconds: 0.0,
            dimensions,
            counted: ran.clone(),
            ran,
            predicted: vec![0; rows.len()],
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
        let (usage, tokens) = (&mut self.layers[layer], self.ran.tokens[row] as u64);
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
        for row in runs {
            let counts = &mut self.nominal[*row];
            counts.attention += self.ran.tokens[*row] as u64;
            counts.attended += self.ran.attended(layer, *row) - holes(*row) as u64;
        }
        for row in launched {
            let counts = &mut self.executed[*row];
            counts.attention += self.ran.tokens[*row] as u64;
            counts.attended += self.ran.attended(layer, *row);
        }
        self.launches.attention += 1;
        self.add_weights(runs, self.dimensions.attention_weights());
    }

    /// Counts an MLP that the rows `runs` asked for and that ran for the rows `launched`.
    pub(super) fn mlp(&mut self, runs: &[usize], launched: &[usize]) {
        for row in runs {
            self.nominal[*row].mlp += self.ran.tokens[*row] as u64;
        }
        for row in launched {
            self.executed[*row].mlp += self.ran.tokens[*row] as u64;
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
        self.head_of(rows, 1);
    }

    fn head_of(&mut self, rows: &[usize], tokens: u64) {
        if rows.is_empty() {
            return;
        }
        for row in rows {
            self.nominal[*row].head_products += tokens;
            self.executed[*row].head_products += tokens;
        }
        self.launches.head_products += 1;
        self.add_weights(rows, self.dimensions.head_weights());
    }

    /// Counts the products with the head that predict the rows' next tokens. They run only for the rows `missing`; the
    /// controller has computed and counted the others.
    pub(super) fn prediction(&mut self, missing: &[usize]) {
        self.predicted.fill(1);
        self.head(missing);
    }

    /// Counts one product with the head for all tokens of all rows.
    pub(super) fn predictions(&mut self) {
        self.predicted = self.ran.tokens.iter().map(|tokens| *tokens as u64).collect();
        let (rows, tokens): (Vec<usize>, _) = ((0..self.predicted.len()).collect(), self.predicted.first().copied());
        self.head_of(&rows, tokens.unwrap_or(0));
    }

    /// Makes the report count these tokens instead of all that ran, where some ran in vain.
    pub(crate) fn count(&mut self, windows: &BTreeMap<usize, usize>, rows: &[Row]) {
        self.counted = Extent::new(windows, rows);
        self.predicted = self.counted.tokens.iter().map(|tokens| *tokens as u64).collect();
    }

    /// Adds the work of another pass of the same rows, whose tokens this pass counts.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let add = |to: &mut [Counts], from: &[Counts]| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
        add(&mut self.nominal, &other.nominal);
        add(&mut self.executed, &other.executed);
        self.launches += other.launches;
        self.weights.iter_mut().zip(&other.weights).for_each(|(to, from)| *to += from);
        self.host_reads += other.host_reads;
        self.controller_seconds += other.controller_seconds;
        self.layers.iter_mut().zip(&other.layers).for_each(|(to, from)| *to += *from);
    }

    /// The work of a row's counted tokens at full depth, without head products for the controller.
    fn full(&self, row: usize) -> Counts {
        let (n_layers, tokens) = (self.dimensions.n_layers as u64, self.counted.tokens[row] as u64);
        Counts {
            attention: n_layers * tokens,
            attended: (0..self.dimensions.n_layers).map(|layer| self.counted.attended(layer, row)).sum(),
            mlp: n_layers * tokens,
            head_products: self.predicted[row],
            ..Counts::default()
        }
    }

    fn add_weights(&mut self, rows: &[usize], weights: f64) {
        for row in rows {
            self.weights[*row] += weights / rows.len() as f64;
        }
    }

    /// The work of all rows. Its time is 0: the caller measures more than the pass.
    pub(crate) fn report(&self) -> PhaseReport {
        let mut report = PhaseReport {
            passes: 1,
            launches: self.launches,
            host_reads: self.host_reads,
            controller_seconds: self.controller_seconds,
            layers: self.layers.clone(),
            ..PhaseReport::default()
        };
        for row in 0..self.nominal.len() {
            report.spent += self.spent(row);
        }
        report
    }

    fn spent(&self, row: usize) -> Spent {
        let (nominal, executed) = (self.nominal[row], self.executed[row]);
        Spent { tokens: self.counted.tokens[row] as u64, nominal, executed, full: self.full(row) }
    }

    /// Adds this pass to a report. `sequences` are the rows' indices among the report's sequences.
    pub(crate) fn add_to(&self, report: &mut RunReport, phase: Phase, sequences: &[usize]) {
        for (row, sequence) in sequences.iter().enumerate() {
            let shared = Shared {
                weight_bytes: self.dimensions.bytes_per_weight * self.weights[row],
                host_reads: self.host_reads,
                controller_seconds: self.controller_seconds / sequences.len() as f64,
            };
            let sequence = &mut report.sequences[*sequence];
            if phase == Phase::Prefill {
                sequence.prefill += self.spent(row);
                sequence.prefill_shared += shared;
            } else {
                sequence.decode += self.spent(row);
                sequence.decode_shared += shared;
            }
        }
        *report.phase_mut(phase) += &self.report();
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
