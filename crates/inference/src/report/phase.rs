//! The report of one phase.

use super::Spent;
use dynlayer_metrics::cost::Counts;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Counts and times of one phase, over all of its passes and rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// The number of passes.
    pub passes: u64,
    /// The work done for the tokens of all rows.
    pub spent: Spent,
    /// The number of launches of each kind, by layer. A launch counts once, however many rows share it, since it reads the
    /// weights once. (A GPU may do several of these in one.)
    pub launches: Counts,
    /// Wall time of the passes, sampling included, in seconds.
    pub seconds: f64,
    /// The number of times that the controller waited for the device.
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds.
    pub controller_seconds: f64,
    /// The use of each layer.
    pub layers: Vec<LayerUsage>,
}

/// The use of one layer in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerUsage {
    /// The number of tokens whose decisions asked for its attention.
    pub attention: u64,
    /// The number of tokens whose decisions asked for its MLP.
    pub mlp: u64,
    /// The number of passes in which at least one of its sublayers was launched.
    pub launched: u64,
    /// Wall time that those passes spent in this layer, in seconds. On a GPU this is the time of launching only, since
    /// a launch returns before its work is done.
    pub seconds: f64,
}

impl AddAssign<&Self> for PhaseReport {
    fn add_assign(&mut self, other: &Self) {
        self.passes += other.passes;
        self.spent += other.spent;
        self.launches += other.launches;
        self.seconds += other.seconds;
        self.host_reads += other.host_reads;
        self.controller_seconds += other.controller_seconds;
        self.layers.resize(self.layers.len().max(other.layers.len()), LayerUsage::default());
        self.layers.iter_mut().zip(&other.layers).for_each(|(layer, other)| *layer += *other);
    }
}

impl AddAssign for LayerUsage {
    fn add_assign(&mut self, other: Self) {
        self.attention += other.attention;
        self.mlp += other.mlp;
        self.launched += other.launched;
        self.seconds += other.seconds;
    }
}

impl PhaseReport {
    /// Tokens per second; `None` without a pass.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.passes > 0).then(|| self.spent.tokens as f64 / self.seconds)
    }

    /// Mean layers per token that the decisions asked for; `None` without a pass.
    pub fn layers_per_token(&self) -> Option<f64> {
        self.spent.layers_per_token()
    }

    /// Mean layers per token that ran; `None` without a pass.
    pub fn layers_executed_per_token(&self) -> Option<f64> {
        self.spent.layers_executed_per_token()
    }

    /// Mean time of a launched layer in one pass, in seconds; `None` without a launch.
    pub fn seconds_per_layer(&self) -> Option<f64> {
        let launched: u64 = self.layers.iter().map(|layer| layer.launched).sum();
        (launched > 0).then(|| self.layers.iter().map(|layer| layer.seconds).sum::<f64>() / launched as f64)
    }
}
