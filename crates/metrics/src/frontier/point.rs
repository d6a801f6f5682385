//! Cost and quality of a method.

use serde::{Deserialize, Serialize};

/// Cost and quality of a method at one setting; lower cost and higher quality are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Cost, in any unit: layers per token, a fraction, milliseconds.
    pub cost: f64,
    /// Quality, in any unit; negate a loss.
    pub quality: f64,
}

impl Point {
    /// A point from cost and quality.
    pub fn new(cost: f64, quality: f64) -> Self {
        Self { cost, quality }
    }

    /// Returns true if this point is at least as good in both respects, and better in one.
    pub fn dominates(&self, other: &Self) -> bool {
        self.cost <= other.cost && self.quality >= other.quality && self != other
    }
}
