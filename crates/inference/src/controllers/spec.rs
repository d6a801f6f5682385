//! Controllers as data.

use super::{ExitAfter, FullDepth, SkipLayers, UniformSkip};
use crate::control::Controller;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A controller as data: what a command line or a configuration file says.
///
/// | text | controller |
/// |---|---|
/// | `full` | [`FullDepth`] |
/// | `skip:3,5,7` | [`SkipLayers`] |
/// | `uniform:20` | [`UniformSkip`] |
/// | `exit:20` | [`ExitAfter`] |
///
/// ```
/// use dynlayer_inference::controllers::ControllerSpec;
///
/// let spec: ControllerSpec = "uniform:20".parse()?;
/// assert_eq!(spec, ControllerSpec::Uniform { budget: 20 });
/// assert_eq!(spec.to_string(), "uniform:20");
/// let controller = spec.build();
/// # Ok::<(), dynlayer_inference::controllers::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl ControllerSpec {
    /// The controller itself.
    pub fn build(&self) -> Box<dyn Controller + Send> {
        match self {
            Self::Full => Box::new(FullDepth),
            Self::Skip { layers } => Box::new(SkipLayers::new(layers.iter().copied())),
            Self::Uniform { budget } => Box::new(UniformSkip::new(*budget)),
            Self::Exit { depth } => Box::new(ExitAfter(*depth)),
        }
    }
}

/// Why a text is no controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name before the colon is not known.
    #[error("unknown controller {0:?}; known are full, skip:LAYER,LAYER,.., uniform:BUDGET, exit:DEPTH")]
    Unknown(String),
    /// The part after the colon is missing, superfluous or not a number.
    #[error("controller {name:?} takes {expected}, not {found:?}")]
    Argument {
        /// The controller's name.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was found after the colon.
        found: String,
    },
}

impl FromStr for ControllerSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, argument) = match text.trim().split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text.trim(), None),
        };
        let refuse = |name, expected| SpecError::Argument { name, expected, found: argument.unwrap_or("").to_owned() };
        let number = |text: &str| text.trim().parse::<usize>().ok();
        match name {
            "full" if argument.is_none() => Ok(Self::Full),
            "full" => Err(refuse("full", "no argument")),
            "skip" => argument
                .and_then(|list| list.split(',').map(number).collect::<Option<Vec<_>>>())
                .map(|layers| Self::Skip { layers })
                .ok_or_else(|| refuse("skip", "layers counted from 0, separated by commas")),
            "uniform" => argument
                .and_then(number)
                .map(|budget| Self::Uniform { budget })
                .ok_or_else(|| refuse("uniform", "a number of layers")),
            "exit" => argument
                .and_then(number)
                .map(|depth| Self::Exit { depth })
                .ok_or_else(|| refuse("exit", "a number of layers")),
            _ => Err(SpecError::Unknown(name.to_owned())),
        }
    }
}

impl fmt::Display for ControllerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Skip { layers } => {
                let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
                write!(f, "skip:{}", layers.join(","))
            }
            Self::Uniform { budget } => write!(f, "uniform:{budget}"),
            Self::Exit { depth } => write!(f, "exit:{depth}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in ["full", "skip:3,5,7", "skip:0", "uniform:20", "exit:1"] {
            let spec: ControllerSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<ControllerSpec>(&json).unwrap(), spec);
        }
    }

    #[test]
    fn wrong_texts_say_what_is_wrong() {
        for (text, part) in [
            ("", "unknown controller \"\""),
            ("fast", "unknown controller \"fast\""),
            ("full:1", "takes no argument, not \"1\""),
            ("skip", "takes layers counted from 0"),
            ("skip:1,,2", "not \"1,,2\""),
            ("uniform:-1", "takes a number of layers, not \"-1\""),
            ("exit:1e3", "not \"1e3\""),
        ] {
            let error = text.parse::<ControllerSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
