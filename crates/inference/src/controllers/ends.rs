//! The choice to keep the first and the last layer.

use crate::unknown_name::{self, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The choice to always run the first and the last layer, or to let a controller skip them.
///
/// These two layers change the residual stream most, and skipping them usually destroys a pre-trained model (arXiv
/// 2410.20022), so by default they always run.
///
/// ```
/// # use dynlayer_inference::controllers::Ends;
/// assert!(Ends::Kept.keeps(0, 30) && Ends::Kept.keeps(29, 30) && !Ends::Kept.keeps(1, 30));
/// assert!(!Ends::Free.keeps(0, 30));
/// assert_eq!("free".parse(), Ok(Ends::Free));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The first and the last layer always run.
    #[default]
    Kept,
    /// The first and the last layer may be skipped like any other.
    Free,
}

impl Ends {
    /// Returns true if `layer`, of `n_layers`, always runs.
    pub fn keeps(self, layer: usize, n_layers: usize) -> bool {
        self == Self::Kept && (layer == 0 || layer + 1 == n_layers)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Free => "free",
        }
    }

    /// The number of layers, of `n_layers`, that always run.
    pub(super) fn count(self, n_layers: usize) -> usize {
        match self {
            Self::Kept => n_layers.min(2),
            Self::Free => 0,
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Ends {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        unknown_name::find("choice of ends", &[Self::Kept, Self::Free], Self::name, text)
    }
}
