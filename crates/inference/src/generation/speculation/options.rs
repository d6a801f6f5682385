//! Settings of speculation.

use crate::control::ControlFrom;
use crate::generation::GenerateError;
use crate::unknown_name::{self, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Speculation: the controller's cheap passes draft a few tokens, one pass at full depth checks them all, and what comes
/// out is the full model's own text (Zhang et al. 2024).
///
/// A round drafts some tokens under the controller and runs them again in one pass at full depth. It keeps the drafted
/// tokens that the full model would have chosen itself, up to the first other one, and adds the token that the full model
/// chooses after them, unless the sequence has ended. [`RunSettings::control_from`](crate::RunSettings::control_from) must
/// be [`ControlFrom::FirstGenerated`]: prompts run at full depth.
///
/// A model with an [adapter](dynlayer_model::Adapter) beside its weights drafts with the adapter. Prompts and checks run
/// without it, so that what comes out is the text of the model without the adapter.
///
/// On the backend `flex` a token's logits have the same bits in a pass of several tokens as alone. So under
/// [`Accept::Same`] tokens and texts are exactly those of generation under
/// [`FullDepth`](crate::controllers::FullDepth). On other backends they can differ from the first token on at which the
/// two likeliest are almost equally likely.
///
/// ```
/// use dynlayer_inference::controllers::{ExitAfter, FullDepth};
/// use dynlayer_inference::{DraftLength, GenerateOptions, Speculation, conformance, generate};
///
/// let model = conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
/// let plain = GenerateOptions { max_new_tokens: 20, ..GenerateOptions::default() };
/// let speculation = Speculation { length: DraftLength::Fixed(3), ..Speculation::default() };
/// let speculative = GenerateOptions { speculation: Some(speculation), ..plain.clone() };
///
/// let (expected, _) = generate(&model, FullDepth, &[vec![1, 2, 3]], plain)?.finish()?;
/// let (found, report) = generate(&model, ExitAfter(2), &[vec![1, 2, 3]], speculative)?.finish()?;
/// assert_eq!(found, expected);
/// println!("{report}"); // tokens that were drafted and accepted, and the gain
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Speculation {
    /// The number of tokens that are drafted in a round.
    pub length: DraftLength,
    /// The rule by which drafted tokens are accepted.
    pub accept: Accept,
    /// `true` if first layers that every draft of a round ran in full are not run again in the check (Elhoushi et al. 2024).
    /// It saves time. On `flex` it changes no bits. Layers with an adapter give the check other states, so none is shared.
    pub share_layers: bool,
}

impl Default for Speculation {
    fn default() -> Self {
        Self { length: DraftLength::default(), accept: Accept::default(), share_layers: true }
    }
}

impl Speculation {
    /// The largest number of tokens that a round may draft.
    pub const MOST: usize = 64;

    /// Refuses settings that no generation can run with.
    pub(in crate::generation) fn check(&self, control_from: ControlFrom) -> Result<(), GenerateError> {
        if control_from != ControlFrom::FirstGenerated {
            return Err(GenerateError::SpeculationControl { found: control_from });
        }
        let found = self.length.most();
        let ok = (1..=Self::MOST).contains(&found);
        if ok { Ok(()) } else { Err(GenerateError::DraftLength { found, most: Self::MOST }) }
    }
}

/// The number of tokens that are drafted in a round. Fewer are drafted where a sequence can take no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DraftLength {
    /// The number that pays, up to `most`: none at all if drafting would cost more time than it saves. The decision is made token
    /// by token, from measured times and acceptance. Tries that do not pay lose at most 1 % of the decoding time, and
    /// one round; so the first one comes after some 25 passes.
    Auto {
        /// The largest number, from 1 to [`Speculation::MOST`].
        most: usize,
    },
    /// This number in each round with room for it, from 1 to [`Speculation::MOST`], whether it pays or not.
    Fixed(usize),
}

impl Default for DraftLength {
    fn default() -> Self {
        Self::Auto { most: 15 }
    }
}

impl DraftLength {
    pub(super) fn most(self) -> usize {
        match self {
            Self::Auto { most } | Self::Fixed(most) => most,
        }
    }
}

/// The rule by which drafted tokens are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Accept {
    /// A drafted token is accepted if the full model chooses the same one from its own logits, with the same seed at the
    /// same position (Daliri, Musco and Suresh 2024). The output is that of generation under
    /// [`FullDepth`](crate::controllers::FullDepth), with every sampling option: the drafter only decides how long it takes.
    #[default]
    Same,
    /// Speculative sampling (Leviathan, Kalman and Matias 2023): a token `x` drawn from the drafter's distribution `q` is
    /// accepted with probability `min(1, p(x) / q(x))`. Otherwise another token is drawn, with probabilities in proportion
    /// to `max(0, p - q)`. The output has the full model's distribution `p`, after all penalties and filters. But it is not
    /// the text that the seed gives without speculation, and it depends on where rounds end: with
    /// [`DraftLength::Auto`] on measured times, in a batch on the other sequences. More tokens are accepted at high
    /// temperatures. At temperature 0 it is the same as [`Same`](Self::Same).
    Rejection,
}

impl Accept {
    /// All rules.
    pub const ALL: [Self; 2] = [Self::Same, Self::Rejection];

    fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Rejection => "rejection",
        }
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Accept {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        unknown_name::find("rule of acceptance", &Self::ALL, Self::name, text)
    }
}
