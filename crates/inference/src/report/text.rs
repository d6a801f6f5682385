//! Tables and histograms of a report, as text.

use super::{PhaseReport, SequenceSummary};
use std::fmt;

/// The width of a full bar in characters.
const WIDTH: u64 = 40;

/// The share of tokens that ran each layer, as a histogram for a terminal.
/// [`RunReport::usage`](super::RunReport::usage) makes it.
///
/// ```text
/// layer  0 |########################################| 100.0 %
/// layer  1 |####################                    |  50.0 %
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct UsageHistogram {
    /// For each layer, the number of tokens that ran its attention, and the number that ran its MLP.
    layers: Vec<[u64; 2]>,
    tokens: u64,
}

impl UsageHistogram {
    pub(super) fn new(phase: &PhaseReport) -> Self {
        let layers = phase.layers.iter().map(|layer| [layer.attention, layer.mlp]).collect();
        Self { layers, tokens: phase.spent.tokens }
    }

    /// The share of tokens that ran each layer, from 0 to 1; each sublayer counts half. Empty without a token.
    pub fn shares(&self) -> Vec<f64> {
        if self.tokens == 0 {
            return Vec::new();
        }
        self.layers.iter().map(|[attention, mlp]| (attention + mlp) as f64 / (2 * self.tokens) as f64).collect()
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
                let percent = |sublayers: &u64| 100.0 * *sublayers as f64 / self.tokens as f64;
                write!(f, " (attention {:.1} %, MLP {:.1} %)", percent(attention), percent(mlp))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The sequences of a run, one per line, with the work of their decode passes.
pub(super) struct SequenceTable(pub(super) Vec<SequenceSummary>);

impl fmt::Display for SequenceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "sequence  prompt  generated  layers  attention    MLP    K/V  GFLOP  weights GB  reads  controller ms"
        )?;
        for SequenceSummary { id, prompt_tokens, generated_tokens, decode, .. } in &self.0 {
            let layers = decode.layers_per_token.map_or_else(|| "-".to_owned(), |layers| format!("{layers:.2}"));
            let [attention, mlp] = decode.sublayers;
            writeln!(
                f,
                "{id:8}  {prompt_tokens:6}  {generated_tokens:9}  {layers:>6}  {attention:9}  {mlp:5}  {:5}  {:5.2}  \
                 {:10.2}  {:5}  {:13.2}",
                decode.kv_projections,
                decode.flops / 1e9,
                decode.weight_bytes / 1e9,
                decode.host_reads,
                decode.controller_seconds * 1e3
            )?;
        }
        Ok(())
    }
}
