//! The features of a router, and the use of its logits.

use super::super::Ends;
use serde::{Deserialize, Serialize};

/// The features of a token that a router sees.
///
/// All are detached, and `[rows, tokens, d_model]`. All but the constant are standardised: each token's numbers have
/// mean 0 and variance 1 (without epsilon: a token whose numbers are all equal gives zeros).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RouterInput {
    /// The state entering the layer.
    #[default]
    Hidden,
    /// The token's embedding.
    Embedding,
    /// The sinusoidal encoding of the token's position (Vaswani et al. 2017, section 3.5): `sin(p / 10000^(2i/d))` at
    /// dimension `2i`, the cosine at `2i + 1`.
    Position,
    /// Ones, so that a constant per layer is learned. Decoding needs no host read after the first pass.
    Constant,
    /// The state that enters the layer for another token of the same sequence: a typical state that says nothing about
    /// this token. In training the label tokens' states are permuted; in decoding, where later tokens are not known,
    /// the state is drawn from the sequence's decode passes so far, this one included, all with the same probability.
    ShuffledHidden,
}

/// Options for the use of a router in [`Routed`](super::Routed).
///
/// ```
/// use dynlayer_inference::controllers::{RouterInput, RouterOptions};
///
/// let options = RouterOptions { input: RouterInput::Constant, ..RouterOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterOptions {
    /// The features that the router sees.
    pub input: RouterInput,
    /// The choice to always run the first and the last layer.
    pub ends: Ends,
    /// In decoding, a layer runs if its probability, the logistic function of the logit, is above this; from 0 to 1,
    /// both excluded.
    pub threshold: f32,
    /// In training, divides the logit and its noise; above 0.
    pub temperature: f32,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self { input: RouterInput::default(), ends: Ends::default(), threshold: 0.5, temperature: 1.0 }
    }
}
