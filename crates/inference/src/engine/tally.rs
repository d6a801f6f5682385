//! The counts of a pass.

use crate::control::Phase;
use crate::report::{RunReport, Shared, Spent};
use dynlayer_metrics::cost::{Counts, Dimensions};
use dynlayer_model::Llama;

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
    /// The number of positions that each row's tokens attend to in total, holes included.
    positions: Vec<u64>,
}

impl Tally {
    /// Makes a tally of rows with `tokens` tokens each, whose last tokens are at the positions `last`.
    pub(super) fn new(dimensions: Dimensions, tokens: Vec<usize>, last: impl Iterator<Item = usize>) -> Self {
        let zero = vec![Counts::default(); tokens.len()];
        let positions = tokens.iter().zip(last).map(|(n, last)| {
            // The last token sees `end` positions, and every other token one fewer than the token after it.
            let (n, end) = (*n as u64, last as u64 + 1);
            n * end - n * n.saturating_sub(1) / 2
        });
        let positions = positions.collect();
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
        }
    }

    pub(super) fn tokens(&self, row: usize) -> usize {
        self.tokens[row]
    }

    /// Counts an attention that the rows `runs` asked for and that ran for the rows `launched`; `holes` returns the
    /// number of slots that are hidden from a row.
    pub(super) fn attention(&mut self, runs: &[usize], launched: &[usize], holes: impl Fn(usize) -> usize) {
        for row in runs {
            let counts = &mut self.nominal[*row];
            counts.attention += self.tokens[*row] as u64;
            counts.attended += self.positions[*row] - (self.tokens[*row] * holes(*row)) as u64;
        }
        for row in launched {
            let counts = &mut self.executed[*row];
            counts.attention += self.tokens[*row] as u64;
            counts.attended += self.positions[*row];
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

    fn add_weights(&mut self, rows: &[usize], weights: f64) {
        for row in rows {
            self.weights[*row] += weights / rows.len() as f64;
        }
    }

    /// Adds this pass to a report. `sequences` are the rows' indices among the report's sequences.
    pub(crate) fn add_to(&self, report: &mut RunReport, phase: Phase, sequences: &[usize]) {
        for (row, sequence) in sequences.iter().enumerate() {
            let (nominal, executed) = (self.nominal[row], self.executed[row]);
            let spent = Spent { tokens: self.tokens[row] as u64, nominal, executed };
            report.phase_mut(phase).spent += spent;
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
        let totals = report.phase_mut(phase);
        totals.launches += self.launches;
        totals.passes += 1;
    }
}

/// The dimensions of a model, from which its cost is computed.
pub(crate) fn dimensions(model: &Llama) -> Dimensions {
    let config = model.config();
    let bytes_per_weight = model.layers().first().map_or(0, |block| block.mlp.down_proj.weight.val().dtype().size());
    Dimensions {
        n_layers: model.layers().len(),
        d_model: config.d_model,
        d_ff: config.d_ff,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        vocab_size: config.vocab_size,
        bytes_per_weight: bytes_per_weight as f64,
    }
}
