//! The report of a run.

use super::work::as_f64;
use super::{Route, Work};
use crate::control::Phase;
use crate::engine::KvPolicy;
use crate::generation::ControlFrom;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run did, and how long it took.
///
/// *Nominal* work is what the decisions asked for, *executed* work is what was launched: they differ where rows of a
/// batch disagree and a layer runs for all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// Layers of the model.
    pub n_layers: usize,
    /// From which token on the controller decided.
    pub control_from: ControlFrom,
    /// What later tokens saw at skipped layers.
    pub kv_policy: KvPolicy,
    /// The prompts' passes.
    pub prefill: PhaseReport,
    /// The passes that produced one token per row.
    pub decode: PhaseReport,
    /// One entry per sequence, in the order of the prompts.
    pub sequences: Vec<SequenceReport>,
}

/// The passes of one phase, all rows together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Passes.
    pub passes: u64,
    /// Tokens that went through, padding not counted.
    pub tokens: u64,
    /// Wall time of the passes, sampling included, in seconds.
    pub seconds: f64,
    /// What the decisions asked for.
    pub nominal: Work,
    /// What was launched.
    pub executed: Work,
    /// Times the controller waited for the device.
    pub host_reads: u64,
    /// Wall time inside the controller, in seconds.
    pub controller_seconds: f64,
    /// Wall time per layer. On a GPU, launches return before the work is done, and this is launch time.
    pub layers: Vec<LayerTime>,
}

/// The time that one layer took in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTime {
    /// Passes in which at least one sublayer was launched.
    pub launched: u64,
    /// Wall time of those passes in this layer, in seconds.
    pub seconds: f64,
}

/// One sequence's decode passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceReport {
    /// The caller's id.
    pub id: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated, a stop token included.
    pub generated_tokens: u64,
    /// Decode passes it took part in.
    pub decode_passes: u64,
    /// Sum over its decode passes of the layers that it ran (nominal).
    pub decode_layers: f64,
}

impl SequenceReport {
    /// Depth: mean layers per decode pass; `None` without one.
    pub fn depth(&self) -> Option<f64> {
        (self.decode_passes > 0).then(|| self.decode_layers / as_f64(self.decode_passes))
    }
}

impl SequenceReport {
    /// Adds a decode pass that took this route.
    pub(crate) fn count_pass(&mut self, route: &Route) {
        self.decode_passes += 1;
        self.decode_layers += route.depth();
    }
}

impl PhaseReport {
    /// Adds products with the head, which are never shared between rows: executed as asked for.
    pub(crate) fn count_head_products(&mut self, n: usize) {
        self.nominal.head_products += n as u64;
        self.executed.head_products += n as u64;
    }

    /// Tokens per second; `None` without a pass.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.passes > 0).then(|| as_f64(self.tokens) / self.seconds)
    }

    /// Mean layers per token that the decisions asked for; `None` without a pass.
    pub fn layers_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.nominal.layers() / as_f64(self.tokens))
    }

    /// Mean layers per token that were launched; `None` without a pass.
    pub fn layers_executed_per_token(&self) -> Option<f64> {
        (self.tokens > 0).then(|| self.executed.layers() / as_f64(self.tokens))
    }

    /// Mean time of a launched layer in one pass, in seconds; `None` if none was launched.
    pub fn seconds_per_layer(&self) -> Option<f64> {
        let launched: u64 = self.layers.iter().map(|layer| layer.launched).sum();
        (launched > 0).then(|| self.layers.iter().map(|layer| layer.seconds).sum::<f64>() / as_f64(launched))
    }
}

impl RunReport {
    /// The phase that a pass counts for.
    pub(crate) fn phase_mut(&mut self, phase: Phase) -> &mut PhaseReport {
        if phase == Phase::Prefill { &mut self.prefill } else { &mut self.decode }
    }

    /// Depth of the set: the unweighted mean of the sequences' depths; `None` if none has a decode pass.
    pub fn mean_depth(&self) -> Option<f64> {
        let depths: Vec<f64> = self.sequences.iter().filter_map(SequenceReport::depth).collect();
        (!depths.is_empty()).then(|| depths.iter().sum::<f64>() / as_f64(depths.len() as u64))
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, phase) in [("prefill", &self.prefill), ("decode", &self.decode)] {
            let Some(speed) = phase.tokens_per_second() else {
                writeln!(f, "{name:8} no pass")?;
                continue;
            };
            let nominal = phase.layers_per_token().unwrap_or_default();
            let executed = phase.layers_executed_per_token().unwrap_or_default();
            write!(f, "{name:8} {:6} tokens in {:8.3} s, {speed:8.1} tokens/s", phase.tokens, phase.seconds)?;
            write!(f, ", layers per token {nominal:.2} of {}", self.n_layers)?;
            if (executed - nominal).abs() > 1e-9 {
                write!(f, " ({executed:.2} executed)")?;
            }
            if let Some(seconds) = phase.seconds_per_layer() {
                write!(f, ", {:.3} ms per layer", seconds * 1e3)?;
            }
            let overhead = 100.0 * phase.controller_seconds / phase.seconds;
            writeln!(f, ", controller {overhead:.1} % of the time and {} host reads", phase.host_reads)?;
        }
        Ok(())
    }
}
