//! The sequences of a run as text.

use super::SequenceSummary;
use std::fmt;

/// The sequences of a run as a table for people, their passes that produced one token; made by
/// [`RunReport::sequence_table`](super::RunReport::sequence_table).
///
/// ```text
/// sequence  prompt  generated  layers  attention    MLP    K/V  GFLOP  weights GB  reads  controller ms
///        0      12         40   20.00        780    780    390   8.41        7.95      0           0.01
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceTable(pub(super) Vec<SequenceSummary>);

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
