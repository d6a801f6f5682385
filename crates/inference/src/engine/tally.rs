//! The counts of a pass.

use dynlayer_metrics::cost::{Counts, Dimensions};

/// What a pass did, row by row and as launches.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Per row, what the decisions asked for, in tokens.
    pub(crate) nominal: Vec<Counts>,
    /// Per row, what ran, in tokens.
    pub(crate) executed: Vec<Counts>,
    /// What was launched, once however many rows it was for.
    pub(crate) launches: Counts,
    /// Per row, how many weights were read for it: a launch's, divided among the rows that asked for it.
    pub(crate) weights: Vec<f64>,
    /// Times the controller waited for the device.
    pub(crate) host_reads: u64,
    /// Wall time inside the controller, in seconds.
    pub(crate) controller_seconds: f64,
    dimensions: Dimensions,
    /// Per row, its tokens without padding.
    tokens: Vec<usize>,
    /// Per row, how many positions its tokens look at in all, holes included.
    positions: Vec<u64>,
}

impl Tally {
    /// For rows of so many tokens, the last of each at these positions.
    pub(super) fn new(dimensions: Dimensions, tokens: Vec<usize>, last: impl Iterator<Item = usize>) -> Self {
        let zero = vec![Counts::default(); tokens.len()];
        let positions = tokens.iter().zip(last).map(|(n, last)| {
            let (n, end) = (*n as u64, last as u64 + 1); // the last token sees as many, the one before one less
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

    /// The attention of `runs` was asked for, and ran for `launched`; `holes` are slots that a row does not see.
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
        self.share(runs, self.dimensions.attention_weights());
    }

    /// The same of the MLP.
    pub(super) fn mlp(&mut self, runs: &[usize], launched: &[usize]) {
        for row in runs {
            self.nominal[*row].mlp += self.tokens[*row] as u64;
        }
        for row in launched {
            self.executed[*row].mlp += self.tokens[*row] as u64;
        }
        self.launches.mlp += 1;
        self.share(runs, self.dimensions.mlp_weights());
    }

    /// Keys and values alone, for `due` tokens of a row, of which `computed` were computed for it.
    pub(super) fn keys_values(&mut self, row: usize, due: usize, computed: usize) {
        self.nominal[row].kv_projections += due as u64;
        self.executed[row].kv_projections += computed as u64;
    }

    /// One launch of the projections of keys and values alone, for these rows; none if there is no row.
    pub(super) fn projection(&mut self, rows: &[usize]) {
        if !rows.is_empty() {
            self.launches.kv_projections += 1;
            self.share(rows, self.dimensions.kv_weights());
        }
    }

    /// One product with the head for these rows, none if there is no row: never for more than asked, so executed as asked
    /// for.
    pub(crate) fn head(&mut self, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        for row in rows {
            self.nominal[*row].head_products += 1;
            self.executed[*row].head_products += 1;
        }
        self.launches.head_products += 1;
        self.share(rows, self.dimensions.head_weights());
    }

    #[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
    fn share(&mut self, rows: &[usize], weights: f64) {
        for row in rows {
            self.weights[*row] += weights / rows.len() as f64;
        }
    }
}
