//! Settings of speculation.

use crate::control::ControlFrom;
use crate::generation::GenerateError;
use crate::unknown_name::{self, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Speculation: the controller's cheap passes draft a few tokens, one pass at full depth checks them all, and what comes
/// out is the full model's own text (Leviathan, Kalman and Matias 2023; with the model's own layers as the drafter Zhang
/// et al. 2024 and Elhoushi et al. 2024).
///
/// A round drafts some tokens under the controller, drops their keys and values, runs the drafted tokens in one pass
/// through all layers, and keeps those that the full model would have chosen itself, and one more that it chooses after
/// them. [`RunSettings::control_from`](crate::RunSettings::control_from) must be its default, since the prompt runs all
/// layers too.
///
/// On the backend `flex` a token's logits have the same bits in a pass of several tokens as alone, so that under
/// [`Accept::Same`] tokens and texts are exactly those of generation without a controller. On other backends they may
/// differ where the two likeliest tokens are as good as equal.
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
    /// `true` if the layers that all drafts of a round ran, from the first layer on, are not run again when the tokens are
    /// checked (Elhoushi et al. 2024). It saves time. On `flex` it changes no bits.
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
    /// As many as pay, up to `most`: none at all if drafting would cost more time than it saves. The decision is made from
    /// token to token, from the measured times of passes and the measured acceptance.
    Auto {
        /// The largest number, from 1 to [`Speculation::MOST`].
        most: usize,
    },
    /// This number in each round, from 1 to [`Speculation::MOST`], whether it pays or not.
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
    /// same position. The output is exactly that of generation without speculation, with every sampling option: the
    /// drafter only decides how long it takes (Daliri, Musco and Suresh 2024).
    #[default]
    Same,
    /// Speculative sampling (Leviathan, Kalman and Matias 2023): a token drawn from the drafter's distribution `q` is
    /// accepted with probability `min(1, p / q)`, and replaced by one drawn from `max(0, p - q)` otherwise. The output
    /// has the full model's distribution `p`, but is not the text that the seed gives without speculation. More tokens
    /// are accepted at high temperatures. At temperature 0 it is the same as [`Same`](Self::Same).
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
