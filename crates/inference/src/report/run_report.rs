//! The report of a run.

use super::text::SequenceTable;
use super::{PhaseReport, PhaseSummary, SequenceReport, SequenceSummary, SpeculationReport, UsageHistogram};
use crate::control::{Phase, RunSettings};
use dynlayer_metrics::cost::Dimensions;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The work and the times of a run. `Display` writes a readable summary.
///
/// *Nominal* work is the work that the decisions asked for, *executed* work the work that ran. They differ where rows
/// of a batch disagree and a layer runs for all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The model's dimensions, which turn counts into operations and bytes.
    pub dimensions: Dimensions,
    /// The settings of the run.
    #[serde(flatten)]
    pub settings: RunSettings,
    /// The prompts' passes.
    pub prefill: PhaseReport,
    /// The passes that produced one token per row. With speculation, all passes of its rounds, whose work is that of the
    /// tokens that came out.
    pub decode: PhaseReport,
    /// The rounds of speculation; `None` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<SpeculationReport>,
    /// One entry per sequence, in the order of the prompts.
    pub sequences: Vec<SequenceReport>,
    /// The largest number of bytes of residual states kept at once under
    /// [`KvPolicy::Deferred`](crate::KvPolicy::Deferred), for keys and values that are not projected yet.
    pub owed_bytes: u64,
}

impl RunReport {
    pub(crate) fn new(dimensions: Dimensions, settings: RunSettings, sequences: Vec<SequenceReport>) -> Self {
        Self {
            dimensions,
            settings,
            prefill: PhaseReport::default(),
            decode: PhaseReport::default(),
            speculation: None,
            sequences,
            owed_bytes: 0,
        }
    }

    /// The report of the phase that a pass counts for.
    pub(crate) fn phase_mut(&mut self, phase: Phase) -> &mut PhaseReport {
        if phase == Phase::Prefill { &mut self.prefill } else { &mut self.decode }
    }

    /// Adds another run of the same model: its work, its times and its sequences.
    pub fn merge(&mut self, other: &Self) {
        self.prefill += &other.prefill;
        self.decode += &other.decode;
        if let Some(other) = &other.speculation {
            self.speculation.get_or_insert_default().add(other);
        }
        self.sequences.extend_from_slice(&other.sequences);
        self.owed_bytes = self.owed_bytes.max(other.owed_bytes);
    }

    /// The unweighted mean of the sequences' depths; `None` if no sequence has a decode pass.
    pub fn mean_depth(&self) -> Option<f64> {
        let depths: Vec<f64> = self.sequences.iter().filter_map(SequenceReport::depth).collect();
        (!depths.is_empty()).then(|| depths.iter().sum::<f64>() / depths.len() as f64)
    }

    /// A summary of the prompts' passes.
    pub fn prefill_summary(&self) -> PhaseSummary {
        PhaseSummary::new(&self.dimensions, &self.prefill)
    }

    /// A summary of the decode passes.
    pub fn decode_summary(&self) -> PhaseSummary {
        PhaseSummary::new(&self.dimensions, &self.decode)
    }

    /// A summary of every sequence, in the order of the prompts.
    pub fn sequence_summaries(&self) -> Vec<SequenceSummary> {
        self.sequences.iter().map(|sequence| SequenceSummary::new(&self.dimensions, sequence)).collect()
    }

    /// A readable table with a line per sequence, which shows the work of its decode passes.
    ///
    /// ```text
    /// sequence  prompt  generated  layers  attention    MLP    K/V  GFLOP  weights GB  reads  controller ms
    ///        0      12         40   20.00        780    780    390   8.41        7.95      0           0.01
    /// ```
    pub fn sequence_table(&self) -> impl fmt::Display + use<> {
        SequenceTable(self.sequence_summaries())
    }

    /// A histogram of the layers that the decode passes ran; with speculation, of those that the drafts ran.
    pub fn usage(&self) -> UsageHistogram {
        UsageHistogram::new(self.speculation.as_ref().map_or(&self.decode, |speculation| &speculation.drafts))
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, summary, report) in
            [("prefill", self.prefill_summary(), &self.prefill), ("decode", self.decode_summary(), &self.decode)]
        {
            let Some(speed) = summary.tokens_per_second else {
                writeln!(f, "{name:8} no pass")?;
                continue;
            };
            let (seconds, work) = (summary.seconds, summary.work);
            let nominal = work.layers_per_token.unwrap_or_default();
            let executed = work.layers_executed_per_token.unwrap_or_default();
            write!(f, "{name:8} {:6} tokens in {seconds:8.3} s, {speed:8.1} tokens/s", work.tokens)?;
            write!(f, ", layers per token {nominal:.2} of {}", self.dimensions.n_layers)?;
            if (executed - nominal).abs() > 1e-9 {
                write!(f, " ({executed:.2} executed)")?;
            }
            if let Some(seconds) = report.seconds_per_layer() {
                write!(f, ", {:.3} ms per layer", seconds * 1e3)?;
            }
            writeln!(f)?;
            let giga = |x: f64| x / 1e9;
            let [attention, mlp] = work.sublayers;
            write!(f, "{:8} {attention} attention and {mlp} MLP sublayers", "")?;
            writeln!(f, ", {} K/V projections for skipped layers", work.kv_projections)?;
            write!(f, "{:8} {:.2} GFLOP ({:.2} at full depth", "", giga(work.flops), giga(work.flops_full_depth))?;
            if work.flops_executed > work.flops {
                write!(f, ", {:.2} executed", giga(work.flops_executed))?;
            }
            write!(f, "), {:.2} GB of weights read", giga(work.weight_bytes))?;
            let overhead = 100.0 * work.controller_seconds / seconds;
            writeln!(f, ", controller {overhead:.1} % of the time and {} host reads", work.host_reads)?;
        }
        if let Some(speculation) = &self.speculation {
            writeln!(f, "speculation: {speculation}")?;
        }
        Ok(())
    }
}
