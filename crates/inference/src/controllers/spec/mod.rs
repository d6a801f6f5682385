//! Controllers as data.

mod build;
mod display;
mod error;
mod parse;
mod resources;
#[cfg(test)]
mod tests;

pub use error::{BuildError, SpecError};
pub use resources::Resources;

use super::{Ends, ExitRule, Schedule};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A controller as data: what a command line or a configuration file says.
///
/// | text | controller |
/// |---|---|
/// | `full` | [`FullDepth`](super::FullDepth) |
/// | `skip:3,5,7` | [`SkipLayers`](super::SkipLayers) |
/// | `uniform:20` | [`UniformSkip`](super::UniformSkip) |
/// | `exit:20` | [`ExitAfter`](super::ExitAfter) |
/// | `influence:28` | [`InfluenceSkip`](super::InfluenceSkip), measured on [`Resources::texts`] |
/// | `random:20` | [`RandomSkip`](super::RandomSkip); `ends=free` |
/// | `bernoulli:0.8` | [`BernoulliSkip`](super::BernoulliSkip); `ends=free` |
/// | `schedule:28..14,to=256` | [`Schedule`]; `from=0`, `warmup=1` |
/// | `confidence:0.9` | [`ConfidenceExit`](super::ConfidenceExit); `patience=1`, `min=1`, `every=1` |
/// | `entropy:0.5` | [`EntropyExit`](super::EntropyExit); the same |
/// | `saturation:0.99` | [`SaturationExit`](super::SaturationExit); the same |
/// | `similarity:0.02` | [`SimilaritySkip`](super::SimilaritySkip), measured on [`Resources::texts`]; `clusters=8`, `ends=free` |
/// | `router:FILE` | [`Routed`](super::Routed), as saved |
/// | `replay:FILE` | [`Replayed`](super::Replayed), as [recorded](super::Recorded) |
/// | `budgeted:18:SPEC` | [`Budgeted`](super::Budgeted) |
/// | `warmup:4:SPEC` | [`WarmUp`](super::WarmUp) |
///
/// Options follow the first value, separated by commas, in any order: `confidence:0.9,min=8,every=4`. Serde reads the
/// fields below, with the name under `controller`: `{"controller": "uniform", "budget": 20}`.
///
/// ```
/// use dynlayer_inference::controllers::{ControllerSpec, ExitRule};
///
/// let spec: ControllerSpec = "budgeted:18:confidence:0.9,min=8".parse()?;
/// let inner = ControllerSpec::Confidence(ExitRule { min_layers: 8, ..ExitRule::new(0.9) });
/// assert_eq!(spec, ControllerSpec::Budgeted { budget: 18.0, inner: Box::new(inner) });
/// assert_eq!(spec.to_string(), "budgeted:18:confidence:0.9,min=8");
/// # Ok::<(), dynlayer_inference::controllers::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "controller", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ControllerSpec {
    /// Every layer.
    Full,
    /// All but these layers.
    Skip {
        /// The layers to skip, from 0.
        layers: Vec<usize>,
    },
    /// This many layers, evenly spread.
    Uniform {
        /// Layers per token.
        budget: usize,
    },
    /// The first layers only.
    Exit {
        /// How many run.
        depth: usize,
    },
    /// The layers with the most block influence.
    Influence {
        /// Layers per token.
        budget: usize,
    },
    /// Random layers, drawn once per sequence.
    Random {
        /// Layers per token.
        budget: usize,
        /// Whether the first and the last layer always run.
        #[serde(default)]
        ends: Ends,
    },
    /// Every layer with a probability, drawn per token.
    Bernoulli {
        /// The probability that a layer runs.
        probability: f32,
        /// Whether the first and the last layer always run.
        #[serde(default)]
        ends: Ends,
    },
    /// A budget that shrinks with the position.
    Schedule(Schedule),
    /// Exit where the two best tokens are far apart.
    Confidence(ExitRule),
    /// Exit where the prediction has little entropy.
    Entropy(ExitRule),
    /// Exit where the state has stopped changing.
    Saturation(ExitRule),
    /// Skip layers that have done little to states like this one.
    Similarity {
        /// The effect below which a layer is skipped.
        threshold: f32,
        /// Kinds of states per layer.
        #[serde(default = "default_clusters")]
        clusters: usize,
        /// Whether the first and the last layer always run.
        #[serde(default)]
        ends: Ends,
    },
    /// A learned router.
    Router {
        /// What [`Routed::save`](super::Routed::save) wrote, relative to [`Resources::folder`].
        file: PathBuf,
    },
    /// A recorded run.
    Replay {
        /// What [`Recording::save`](super::Recording::save) wrote, relative to [`Resources::folder`].
        file: PathBuf,
    },
    /// Another controller, held to a budget.
    Budgeted {
        /// Layers per pass on average.
        budget: f32,
        /// The other controller.
        inner: Box<ControllerSpec>,
    },
    /// Another controller, after some tokens at full depth.
    Warmup {
        /// How many tokens.
        tokens: usize,
        /// The other controller.
        inner: Box<ControllerSpec>,
    },
}

/// Kinds of states per layer for [`ControllerSpec::Similarity`].
const DEFAULT_CLUSTERS: usize = 8;

fn default_clusters() -> usize {
    DEFAULT_CLUSTERS
}
