//! How a model is run over prompts and candidates.

use crate::control::{ControlFrom, RunSettings};
use crate::sampling::Sampling;
use dynlayer_model::text::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a candidate's work for a sequence is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cost {
    /// Layers per token: the depth that was asked for, mean over the passes that produced a token.
    #[default]
    Layers,
    /// Floating-point operations per token that were asked for, in 1e9, products with the head and keys and values of
    /// skipped layers included.
    Gigaflops,
    /// Milliseconds per token. Every lane then runs alone, as rows of a batch share their time; and a run that was
    /// interrupted is no longer the same as an undisturbed one.
    Milliseconds,
}

/// Options of a [`Drive`](super::Drive).
///
/// ```
/// use dynlayer_inference::oracle::DriveOptions;
/// use dynlayer_inference::sampling::Sampling;
///
/// let options = DriveOptions {
///     max_new_tokens: 64,
///     halves: Some(Sampling { temperature: 0.7, ..Sampling::default() }),
///     null_depths: vec![10, 20],
///     ..DriveOptions::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct DriveOptions<'a> {
    /// Settings of every run. Control must begin with the prompt's last token ([`ControlFrom::LastPromptToken`], the
    /// default here), because all lanes share the prompt's pass. The seed also draws the null oracle's random routes.
    pub run: RunSettings,
    /// Tokens per output at most, at least 1.
    pub max_new_tokens: usize,
    /// Tokens that end an output.
    pub stop_tokens: Vec<u32>,
    /// Strings that end an output and are left out of its text; they need a tokenizer.
    pub stop_strings: Vec<String>,
    /// Turns tokens into the text that is judged; `None` leaves it empty.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Measures the quality twice more for the cross-fitted oracle. Of outputs: two are sampled with this sampling,
    /// each with a seed of its own, so its temperature must be above 0. Of given tokens: the mean over the tokens
    /// in odd and in even places, and what the sampling says does not matter.
    pub halves: Option<Sampling>,
    /// Measures against the full model's own output too; not for [`Measure::Agreement`](super::Measure::Agreement),
    /// which does nothing else.
    pub label_free: bool,
    /// For each of these depths, as many random routes of exactly this many layers are run as there are candidates, for
    /// the null oracle. Only with [`Cost::Layers`].
    pub null_depths: Vec<usize>,
    /// What costs are counted in.
    pub cost: Cost,
    /// Lanes of one prompt that run together at most, at least 1. Each holds a copy of the prompt's keys and values.
    pub lanes: usize,
    /// Whatever else the results depend on, such as the checkpoint's file and the calibration's: a run can only be
    /// resumed with the same.
    pub labels: BTreeMap<String, String>,
}

impl Default for DriveOptions<'_> {
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
        }
    }
}
