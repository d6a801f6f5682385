//! The JSON output, and the process's peak memory.

use dynlayer::inference::report::SpeculationReport;
use serde::Serialize;
use std::io::Write;

/// The JSON object of a generation. Values that no pass gives are `null`.
#[derive(Serialize)]
pub struct Summary {
    pub prompt_ids: Vec<u32>,
    /// The generated ids, a stop token included.
    pub token_ids: Vec<u32>,
    /// The generated text, without special tokens.
    pub text: String,
    /// The reason why the text ended; `interrupted` after Ctrl-C.
    pub stop: Option<String>,
    /// Layers per decode pass that the controller asked for.
    pub layers_per_token: Option<f64>,
    pub layers_executed_per_token: Option<f64>,
    pub n_layers: usize,
    pub prefill_tok_s: Option<f64>,
    /// Tokens of decode passes per second.
    pub decode_tok_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<SpeculationReport>,
    pub load_s: f64,
    pub peak_rss_mb: Option<f64>,
}

/// Prints one line of JSON.
pub fn print(value: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)
}

/// Returns the largest resident memory of this process so far, in megabytes (10^6 bytes); `None` if the system does not
/// report it.
pub fn peak_resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}
