//! Work as plain counts.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Counts of what was run, in tokens: a sublayer that ran for a pass of 3 rows with 5 tokens each counts 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Attention sublayers.
    pub attention: u64,
    /// MLP sublayers.
    pub mlp: u64,
    /// Key and value projections of layers whose attention was skipped.
    pub kv_projections: u64,
    /// Products with the head: one per token that logits were computed for, controllers' own included.
    pub head_products: u64,
}

impl Work {
    /// Layers: half of the sublayers.
    pub fn layers(&self) -> f64 {
        as_f64(self.attention + self.mlp) / 2.0
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.attention += other.attention;
        self.mlp += other.mlp;
        self.kv_projections += other.kv_projections;
        self.head_products += other.head_products;
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}
