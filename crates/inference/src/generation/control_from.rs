//! Which tokens a controller decides about.

use crate::unknown_name::{self, UnknownName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// From which token on the controller decides; before it every layer runs, and the controller only looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlFrom {
    /// From the first generated token on: the prompt runs every layer, so the first token comes from a full-depth pass
    /// (arXiv 2410.20022).
    #[default]
    FirstGenerated,
    /// From the prompt's last token on, so that every generated token comes from a controlled pass.
    LastPromptToken,
    /// The whole prompt too.
    All,
}

impl ControlFrom {
    /// All settings.
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
