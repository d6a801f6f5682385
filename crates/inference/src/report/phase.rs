//! What the passes of one phase did.

use super::{Spent, as_f64};
use dynlayer_metrics::cost::Counts;
use serde::{Deserialize, Serialize};

/// The passes of one phase, all rows together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Passes.
    pub passes: u64,
    /// What all rows' tokens ran.
    pub spent: Spent,
    /// What was launched, once however many rows shared it: what weights were read for.
    pub launches: Counts,
    /// Wall time of the passes, sampling included, in seconds.
    pub seconds: f64,
    /// Times the controller waited for the device.
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds.
    pub controller_seconds: f64,
    /// One entry per layer.
    pub layers: Vec<LayerUsage>,
}

/// What one layer did in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerUsage {
    /// Tokens that ran its attention, as the decisions asked for.
    pub attention: u64,
    /// Tokens that ran its MLP.
    pub mlp: u64,
    /// Passes in which at least one of its sublayers was launched.
    pub launched: u64,
    /// Wall time of those passes in this layer, in seconds. On a GPU, launches return before the work is done, and this
    /// is launch time.
    pub seconds: f64,
}

impl PhaseReport {
    /// Tokens per second; `None` without a pass.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.passes > 0).then(|| as_f64(self.spent.tokens) / self.seconds)
    }

    /// Mean layers per token that the decisions asked for; `None` without a pass.
    pub fn layers_per_token(&self) -> Option<f64> {
        self.spent.layers_per_token()
    }

    /// Mean layers per token that ran; `None` without a pass.
    pub fn layers_executed_per_token(&self) -> Option<f64> {
        self.spent.layers_executed_per_token()
    }

    /// Mean time of a launched layer in one pass, in seconds; `None` if none was launched.
    pub fn seconds_per_layer(&self) -> Option<f64> {
        let launched: u64 = self.layers.iter().map(|layer| layer.launched).sum();
        (launched > 0).then(|| self.layers.iter().map(|layer| layer.seconds).sum::<f64>() / as_f64(launched))
    }
}
