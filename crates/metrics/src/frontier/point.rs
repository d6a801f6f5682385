//! A method at one setting.

use serde::{Deserialize, Serialize};

/// What a method costs and how good it is: lower cost and higher quality are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Cost, in any unit: layers per token, a fraction, milliseconds.
    pub cost: f64,
    /// Quality, in any unit; negate a loss.
    pub quality: f64,
}

impl Point {
    /// A point.
    pub fn new(cost: f64, quality: f64) -> Self {
        Self { cost, quality }
    }

    /// Whether this point is at least as good in both, and better in one.
    pub fn dominates(&self, other: &Self) -> bool {
        self.cost <= other.cost && self.quality >= other.quality && self != other
    }
}
