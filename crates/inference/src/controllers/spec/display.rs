//! From a specification to text.

use super::super::{Ends, ExitRule, Schedule};
use super::{ControllerSpec, DEFAULT_CLUSTERS};
use std::fmt;

/// The text that parses into the same specification; options that have their defaults are left out.
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
            Self::Influence { budget } => write!(f, "influence:{budget}"),
            Self::Random { budget, ends } => {
                write!(f, "random:{budget}")?;
                option(f, "ends", ends, &Ends::default())
            }
            Self::Bernoulli { probability, ends } => {
                write!(f, "bernoulli:{probability}")?;
                option(f, "ends", ends, &Ends::default())
            }
            Self::Schedule(Schedule { max, min, from, to, warm_up }) => {
                write!(f, "schedule:{max}..{min},to={to}")?;
                option(f, "from", from, &0)?;
                option(f, "warmup", warm_up, &1)
            }
            Self::Confidence(rule) => exit(f, "confidence", rule),
            Self::Entropy(rule) => exit(f, "entropy", rule),
            Self::Saturation(rule) => exit(f, "saturation", rule),
            Self::Similarity { threshold, clusters, ends } => {
                write!(f, "similarity:{threshold}")?;
                option(f, "clusters", clusters, &DEFAULT_CLUSTERS)?;
                option(f, "ends", ends, &Ends::default())
            }
            Self::Router { file } => write!(f, "router:{}", file.display()),
            Self::Replay { file } => write!(f, "replay:{}", file.display()),
            Self::Budgeted { budget, inner } => write!(f, "budgeted:{budget}:{inner}"),
            Self::Warmup { tokens, inner } => write!(f, "warmup:{tokens}:{inner}"),
        }
    }
}

fn exit(f: &mut fmt::Formatter<'_>, name: &str, rule: &ExitRule) -> fmt::Result {
    write!(f, "{name}:{}", rule.threshold)?;
    option(f, "patience", &rule.patience, &1)?;
    option(f, "min", &rule.min_layers, &1)?;
    option(f, "every", &rule.every, &1)
}

fn option<T: fmt::Display + PartialEq>(f: &mut fmt::Formatter<'_>, key: &str, value: &T, default: &T) -> fmt::Result {
    if value == default { Ok(()) } else { write!(f, ",{key}={value}") }
}
