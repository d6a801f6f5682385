//! The report of a run.

use super::{PhaseReport, SequenceReport, SequenceSummary, SequenceTable, Shared, Spent, UsageHistogram, as_f64};
use crate::control::{Phase, RunSettings};
use crate::engine::Tally;
use dynlayer_metrics::cost::{Counts, Dimensions};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run did, and how long it took.
///
/// *Nominal* work is what the decisions asked for, *executed* work is what ran: they differ where rows of a batch
/// disagree and a layer runs for all of them.
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
    /// The passes that produced one token per row.
    pub decode: PhaseReport,
    /// One entry per sequence, in the order of the prompts.
    pub sequences: Vec<SequenceReport>,
    /// Bytes of residual states that were kept for keys and values still owed ([`KvPolicy::Deferred`](crate::KvPolicy::Deferred)), at most.
    pub owed_bytes: u64,
}

/// One phase in numbers that need no further arithmetic, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseSummary {
    /// Passes.
    pub passes: u64,
    /// Tokens that went through.
    pub tokens: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Tokens per second; `None` without a pass, as all that follows where it is optional.
    pub tokens_per_second: Option<f64>,
    /// Layers per token that the decisions asked for.
    pub layers_per_token: Option<f64>,
    /// Layers per token that ran.
    pub layers_executed_per_token: Option<f64>,
    /// Attention and MLP sublayers that the decisions asked for, in tokens.
    pub sublayers: [u64; 2],
    /// Attention and MLP sublayers that ran, in tokens.
    pub sublayers_executed: [u64; 2],
    /// Keys and values without their attention that the decisions and the KV policy asked for, in tokens.
    pub kv_projections: u64,
    /// Those that were computed for it: without those that came with an attention that ran for other rows.
    pub kv_projections_executed: u64,
    /// Floating-point operations that the decisions asked for ([`Dimensions::flops`]).
    pub flops: f64,
    /// Floating-point operations that ran.
    pub flops_executed: f64,
    /// Floating-point operations of the same tokens at full depth, controllers' own products with the head left out.
    pub flops_full_depth: f64,
    /// Bytes of weights read ([`Dimensions::weight_bytes`] of the launches).
    pub weight_bytes: f64,
    /// Bytes of cached keys and values read and written, 4 each ([`Dimensions::kv_bytes`] of what ran).
    pub kv_bytes: f64,
    /// Times the controller waited for the device.
    pub host_reads: u64,
    /// Wall time inside the controller in seconds.
    pub controller_seconds: f64,
}

/// Bytes of a cached number.
const KV_BYTES: f64 = 4.0;

impl RunReport {
    pub(crate) fn new(dimensions: Dimensions, settings: RunSettings, sequences: Vec<SequenceReport>) -> Self {
        Self {
            dimensions,
            settings,
            prefill: PhaseReport::default(),
            decode: PhaseReport::default(),
            sequences,
            owed_bytes: 0,
        }
    }

    /// The phase that a pass counts for.
    pub(crate) fn phase_mut(&mut self, phase: Phase) -> &mut PhaseReport {
        if phase == Phase::Prefill { &mut self.prefill } else { &mut self.decode }
    }

    /// Adds a pass of `tokens` tokens per row; `rows` are the rows' places among the sequences.
    pub(crate) fn count_pass(&mut self, phase: Phase, rows: &[usize], tokens: &[usize], tally: &Tally) {
        for (i, row) in rows.iter().enumerate() {
            let (nominal, executed) = (tally.nominal[i], tally.executed[i]);
            let spent = Spent { tokens: tokens[i] as u64, nominal, executed };
            self.phase_mut(phase).spent += spent;
            let shared = Shared {
                weight_bytes: self.dimensions.bytes_per_weight * tally.weights[i],
                host_reads: tally.host_reads,
                controller_seconds: tally.controller_seconds / as_f64(rows.len() as u64),
            };
            let sequence = &mut self.sequences[*row];
            if phase == Phase::Prefill {
                sequence.prefill += spent;
                sequence.prefill_shared += shared;
            } else {
                sequence.decode += spent;
                sequence.decode_shared += shared;
            }
        }
        let of = self.phase_mut(phase);
        of.launches += tally.launches;
        of.passes += 1;
    }

    /// Depth of the set: the unweighted mean of the sequences' depths; `None` if none has a decode pass.
    pub fn mean_depth(&self) -> Option<f64> {
        let depths: Vec<f64> = self.sequences.iter().filter_map(SequenceReport::depth).collect();
        (!depths.is_empty()).then(|| depths.iter().sum::<f64>() / as_f64(depths.len() as u64))
    }

    /// The prompts' passes in numbers.
    pub fn prefill_summary(&self) -> PhaseSummary {
        self.summary(&self.prefill, |sequence| {
            let head = sequence.prefill.nominal.head_products.min(1);
            Counts { head_products: head, ..self.dimensions.prompt_counts(sequence.prefill.tokens) }
        })
    }

    /// The decode passes in numbers.
    pub fn decode_summary(&self) -> PhaseSummary {
        self.summary(&self.decode, |sequence| {
            self.dimensions.full_counts(sequence.decode.tokens, sequence.prefill.tokens)
        })
    }

    /// Every sequence in numbers, in the order of the prompts.
    pub fn sequence_summaries(&self) -> Vec<SequenceSummary> {
        self.sequences.iter().map(|sequence| SequenceSummary::new(&self.dimensions, sequence)).collect()
    }

    /// Every sequence as a line of a table.
    pub fn sequence_table(&self) -> SequenceTable {
        SequenceTable(self.sequence_summaries())
    }

    fn summary(&self, phase: &PhaseReport, full: impl Fn(&SequenceReport) -> Counts) -> PhaseSummary {
        let dimensions = &self.dimensions;
        let (asked, ran) = (&phase.spent.nominal, &phase.spent.executed);
        PhaseSummary {
            passes: phase.passes,
            tokens: phase.spent.tokens,
            seconds: phase.seconds,
            tokens_per_second: phase.tokens_per_second(),
            layers_per_token: phase.layers_per_token(),
            layers_executed_per_token: phase.layers_executed_per_token(),
            sublayers: [asked.attention, asked.mlp],
            sublayers_executed: [ran.attention, ran.mlp],
            kv_projections: asked.kv_projections,
            kv_projections_executed: ran.kv_projections,
            flops: dimensions.flops(asked),
            flops_executed: dimensions.flops(ran),
            flops_full_depth: dimensions.flops(&self.sequences.iter().map(full).sum::<Counts>()),
            weight_bytes: dimensions.weight_bytes(&phase.launches),
            kv_bytes: dimensions.kv_bytes(ran, KV_BYTES),
            host_reads: phase.host_reads,
            controller_seconds: phase.controller_seconds,
        }
    }

    /// Which layers the decode passes ran how often.
    pub fn usage(&self) -> UsageHistogram {
        UsageHistogram::new(&self.decode)
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, phase, times) in
            [("prefill", self.prefill_summary(), &self.prefill), ("decode", self.decode_summary(), &self.decode)]
        {
            let Some(speed) = phase.tokens_per_second else {
                writeln!(f, "{name:8} no pass")?;
                continue;
            };
            let nominal = phase.layers_per_token.unwrap_or_default();
            let executed = phase.layers_executed_per_token.unwrap_or_default();
            write!(f, "{name:8} {:6} tokens in {:8.3} s, {speed:8.1} tokens/s", phase.tokens, phase.seconds)?;
            write!(f, ", layers per token {nominal:.2} of {}", self.dimensions.n_layers)?;
            if (executed - nominal).abs() > 1e-9 {
                write!(f, " ({executed:.2} executed)")?;
            }
            if let Some(seconds) = times.seconds_per_layer() {
                write!(f, ", {:.3} ms per layer", seconds * 1e3)?;
            }
            writeln!(f)?;
            let giga = |x: f64| x / 1e9;
            let [attention, mlp] = phase.sublayers;
            write!(f, "{:8} {attention} attention and {mlp} MLP sublayers", "")?;
            writeln!(f, ", {} K/V projections of skipped ones", phase.kv_projections)?;
            write!(f, "{:8} {:.2} GFLOP ({:.2} at full depth", "", giga(phase.flops), giga(phase.flops_full_depth))?;
            if phase.flops_executed > phase.flops {
                write!(f, ", {:.2} executed", giga(phase.flops_executed))?;
            }
            write!(f, "), {:.2} GB of weights read", giga(phase.weight_bytes))?;
            let overhead = 100.0 * phase.controller_seconds / phase.seconds;
            writeln!(f, ", controller {overhead:.1} % of the time and {} host reads", phase.host_reads)?;
        }
        Ok(())
    }
}
