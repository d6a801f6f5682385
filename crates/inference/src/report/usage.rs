//! Which layers ran how often, as text.

use super::{PhaseReport, as_f64};
use std::fmt;

/// Cells of a full bar.
const WIDTH: u64 = 40;

/// Per layer, the share of tokens that ran it, as a histogram for a terminal; made by
/// [`RunReport::usage`](super::RunReport::usage).
///
/// ```text
/// layer  0 |########################################| 100.0 %
/// layer  1 |####################                    |  50.0 %
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct UsageHistogram {
    /// Per layer: attention and MLP sublayers that ran.
    layers: Vec<[u64; 2]>,
    tokens: u64,
}

impl UsageHistogram {
    pub(super) fn new(phase: &PhaseReport) -> Self {
        let layers = phase.layers.iter().map(|layer| [layer.attention, layer.mlp]).collect();
        Self { layers, tokens: phase.spent.tokens }
    }

    /// The share of tokens that ran each layer, sublayers counting half; empty without a token.
    pub fn shares(&self) -> Vec<f64> {
        if self.tokens == 0 {
            return Vec::new();
        }
        self.layers.iter().map(|[attention, mlp]| as_f64(attention + mlp) / as_f64(2 * self.tokens)).collect()
    }
}

impl fmt::Display for UsageHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (layer, ([attention, mlp], share)) in self.layers.iter().zip(self.shares()).enumerate() {
            let cells = ((attention + mlp) * WIDTH + self.tokens) / (2 * self.tokens);
            let cells = usize::try_from(cells).unwrap_or(0);
            let width = usize::try_from(WIDTH).unwrap_or(0);
            write!(f, "layer {layer:2} |{:width$}| {:5.1} %", "#".repeat(cells), 100.0 * share)?;
            if attention != mlp {
                let of = |n: &u64| 100.0 * as_f64(*n) / as_f64(self.tokens);
                write!(f, " (attention {:.1} %, MLP {:.1} %)", of(attention), of(mlp))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
