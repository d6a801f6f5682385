//! Options of a run over prompts and candidates.

use super::Shard;
use crate::control::{ControlFrom, RunSettings};
use crate::sampling::Sampling;
use dynlayer_model::text::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The unit in which a candidate's cost is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cost {
    /// Layers per token: the nominal depth, averaged over the passes that produced a token.
    #[default]
    Layers,
    /// Nominal floating-point operations per token, in units of 1e9, including head products and the keys and values of
    /// skipped layers.
    Gigaflops,
    /// Milliseconds per token. Every lane then runs alone, since the time of a batch cannot be divided among its rows.
    /// An interrupted run does not give the same results as an undisturbed one.
    Milliseconds,
}

/// Options of an [`OracleRun`](super::OracleRun).
///
/// ```
/// use dynlayer_inference::oracle::OracleOptions;
/// use dynlayer_inference::sampling::Sampling;
///
/// let options = OracleOptions {
///     max_new_tokens: 64,
///     halves: Some(Sampling { temperature: 0.7, ..Sampling::default() }),
///     null_depths: vec![10, 20],
///     ..OracleOptions::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct OracleOptions<'a> {
    /// Settings of every run. Control must begin with the prompt's last token ([`ControlFrom::LastPromptToken`], the
    /// default here), because all lanes share the prompt's pass. The seed also draws the null oracle's random routes.
    pub run: RunSettings,
    /// Largest number of tokens per output, at least 1.
    pub max_new_tokens: usize,
    /// Tokens that end an output.
    pub stop_tokens: Vec<u32>,
    /// Strings that end an output and are left out of its text; they need a tokenizer.
    pub stop_strings: Vec<String>,
    /// The tokenizer that decodes outputs to text; without one the text is empty.
    pub tokenizer: Option<&'a Tokenizer>,
    /// If set, the quality is measured twice more, as two halves, for the cross-fitted oracle. With
    /// [`Measure::Output`], the halves are the qualities of two outputs that are sampled in this way with different
    /// seeds; the temperature must be above 0. With the other measures, the halves are the means over the tokens at odd
    /// and at even positions, and the sampling is not used.
    ///
    /// [`Measure::Output`]: super::Measure::Output
    pub halves: Option<Sampling>,
    /// If true, the quality is also measured against the full model's own output.
    /// [`Measure::Agreement`](super::Measure::Agreement) ignores it, since it always compares with that output.
    pub label_free: bool,
    /// Depths, in layers, at which random routes are run for the null oracle. Each depth gets as many routes as there
    /// are candidates. Must be empty unless the cost is [`Cost::Layers`].
    pub null_depths: Vec<usize>,
    /// The unit of cost.
    pub cost: Cost,
    /// Largest number of lanes of one prompt that run together, at least 1. Each holds a copy of the prompt's keys and
    /// values. A run can only be continued with the same number. It changes no result on the backend `flex`, and may
    /// change results by rounding on others.
    pub lanes: usize,
    /// Anything else that the results depend on, such as the version of a [measure](super::Measure::output)'s function.
    /// The model, the tokenizer, the items and what the candidates read need no label. A run can only be continued with
    /// the same labels.
    pub labels: BTreeMap<String, String>,
    /// If set, only the items of this shard run, into a file of its own; [`OracleRun::merge`](super::OracleRun::merge)
    /// makes one file of all shards.
    pub shard: Option<Shard>,
}

impl Default for OracleOptions<'_> {
    fn default() -> Self {
        Self {
            run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
            max_new_tokens: 64,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            tokenizer: None,
            halves: None,
            label_free: true,
            null_depths: Vec::new(),
            cost: Cost::default(),
            lanes: 16,
            labels: BTreeMap::new(),
            shard: None,
        }
    }
}
