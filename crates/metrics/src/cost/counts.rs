//! Counts of the work that a run did.

use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Counts of the sublayers, projections and head products that ran.
///
/// The counts are in one of two units. *Tokens* determine floating-point operations: a sublayer that ran for 3 rows of
/// 5 tokens counts 15. *Launches* determine the bytes of weights, which are read once for all rows and tokens of a
/// launch: the same sublayer counts 1.
///
/// ```
/// use dynlayer_metrics::cost::Counts;
///
/// let first = Counts { attention: 3, mlp: 2, head_products: 1, ..Counts::default() };
/// let both: Counts = [first, first].into_iter().sum();
/// assert_eq!(both.layers(), 5.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counts {
    /// Attention sublayers, their projections of keys and values included.
    pub attention: u64,
    /// MLP sublayers.
    pub mlp: u64,
    /// Projections of keys and values for layers whose attention was skipped.
    pub kv_projections: u64,
    /// Products with the head, which computes the logits.
    pub head_products: u64,
    /// Sum, over attention sublayers and tokens, of the positions attended to, including the token's own. It is counted
    /// in tokens only, and has no meaning in launches.
    pub attended: u64,
}

impl Counts {
    /// Number of sublayers that ran.
    pub fn sublayers(&self) -> u64 {
        self.attention + self.mlp
    }

    /// Number of layers that ran: half of the sublayers.
    pub fn layers(&self) -> f64 {
        self.sublayers().to_f64() / 2.0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.attention += other.attention;
        self.mlp += other.mlp;
        self.kv_projections += other.kv_projections;
        self.head_products += other.head_products;
        self.attended += other.attended;
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}
