//! Settings of a run.

use crate::unknown_name::{self, UnknownName};
use dynlayer_model::KvDtype;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Settings that are shared by generation, scoring and the runs of the oracle.
///
/// ```
/// use dynlayer_inference::{ControlFrom, GenerateOptions, KvPolicy, RunSettings};
///
/// let run = RunSettings { control_from: ControlFrom::LastPromptToken, seed: 7, ..RunSettings::default() };
/// let options = GenerateOptions { run, max_new_tokens: 64, ..GenerateOptions::default() };
/// assert_eq!(options.run.kv_policy, KvPolicy::Propagate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// The first token that the controller decides about.
    pub control_from: ControlFrom,
    /// The keys and values that later tokens see at layers whose attention an earlier token skipped.
    pub kv_policy: KvPolicy,
    /// The type in which keys and values are kept.
    pub kv_dtype: KvDtype,
    /// The execution of sublayers that some rows of a batch run and others skip. It affects the speed, and, on
    /// backends other than `flex`, the last bits of the results.
    pub partial_skips: PartialSkips,
    /// The seed of every random draw of the run: the draws of the controller, which reads the seed from
    /// [`Row::seed`](super::Row::seed), and those of [sampling](crate::sampling::Sampling). A draw depends on the seed,
    /// the draw's purpose, the sequence's id, the position and the layer, so a sequence draws the same numbers alone
    /// and in a batch.
    pub seed: u64,
    /// The largest number of prompt tokens in one pass, at least 1. A longer prompt takes several passes, which end at
    /// multiples of this number from the sequence's first token. Under [`ControlFrom::All`] the controller decides
    /// about each of these chunks by itself.
    pub prefill_chunk: usize,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            control_from: ControlFrom::default(),
            kv_policy: KvPolicy::default(),
            kv_dtype: KvDtype::default(),
            partial_skips: PartialSkips::default(),
            seed: 0,
            prefill_chunk: 512,
        }
    }
}

/// The first token that a controller decides about. For the tokens before it every layer runs, and the controller only
/// [observes](super::Controller::observe).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlFrom {
    /// The first generated token, which the first controlled pass reads. The prompt runs every layer, so that token
    /// itself comes from a full-depth pass (arXiv 2410.20022).
    #[default]
    FirstGenerated,
    /// The prompt's last token, so that every generated token comes from a controlled pass.
    LastPromptToken,
    /// The prompt's first token: the controller decides about the whole prompt too.
    All,
}

impl ControlFrom {
    /// All values of this setting.
    pub const ALL: [Self; 3] = [Self::FirstGenerated, Self::LastPromptToken, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::FirstGenerated => "first-generated",
            Self::LastPromptToken => "last-prompt-token",
            Self::All => "all",
        }
    }
}

impl fmt::Display for ControlFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ControlFrom {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        unknown_name::find("start of control", &Self::ALL, Self::name, text)
    }
}

/// The keys and values that later tokens see at a layer whose attention an earlier token skipped.
///
/// Every policy works with every controller. All three give the same results if no sequence runs a layer's attention
/// again after having skipped it, as under any route that is fixed per sequence.
///
/// ```
/// use dynlayer_inference::KvPolicy;
///
/// assert_eq!("deferred".parse(), Ok(KvPolicy::Deferred));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KvPolicy {
    /// Keys and values projected from the residual state that entered the skipped layer (arXiv 2410.20022): two small
    /// products instead of a layer.
    #[default]
    Propagate,
    /// The same keys and values, projected only when that layer's attention next runs for the sequence, for all skipped
    /// tokens at once. Until then the residual states of the tokens are kept: `d_model` numbers per token for each
    /// group of consecutive skipped layers. A layer that a sequence never runs again costs no projection.
    Deferred,
    /// No keys and values: later tokens do not see the token at that layer. This policy costs nothing, and changes the
    /// results.
    Omit,
}

impl KvPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Propagate, Self::Deferred, Self::Omit];

    fn name(self) -> &'static str {
        match self {
            Self::Propagate => "propagate",
            Self::Deferred => "deferred",
            Self::Omit => "omit",
        }
    }
}

impl fmt::Display for KvPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KvPolicy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        unknown_name::find("KV policy", &Self::ALL, Self::name, text)
    }
}

/// The execution of a sublayer that some rows of a batch run and others skip. All choices give the same results, up to
/// rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartialSkips {
    /// The faster of the other two, according to a model of the device's speed.
    #[default]
    Modelled,
    /// The sublayer runs for all rows, and rows that skip it keep their state.
    RunAll,
    /// The rows that run are taken out of the batch, run, and put back.
    Gather,
}
