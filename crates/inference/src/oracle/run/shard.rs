//! Shards: the parts of a run that processes on many machines measure.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A part of a run's items, which one process measures: of `n` shards, every `n`-th item, the first of them at the shard's
/// index. As text, the index from 0 and the number: `3/50`.
///
/// Shards are of nearly the same size, and items that are appended leave the others where they are.
///
/// ```
/// use dynlayer_inference::oracle::Shard;
///
/// let shard: Shard = "1/3".parse()?;
/// assert_eq!((0..7).filter(|position| shard.has(*position)).collect::<Vec<_>>(), [1, 4]);
/// # Ok::<(), dynlayer_inference::oracle::ShardError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    of: usize,
}

/// The variables that a Slurm array sets.
const SLURM: [&str; 4] =
    ["SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP"];
/// The variable that an indexed job of Kubernetes sets, and the one that its description must set beside it.
const KUBERNETES: [&str; 2] = ["JOB_COMPLETION_INDEX", "DYNLAYER_SHARDS"];

impl Shard {
    /// Returns a shard by its index, from 0.
    ///
    /// # Errors
    /// If the index is not below the number of shards.
    pub fn new(index: usize, of: usize) -> Result<Self, ShardError> {
        if index < of { Ok(Self { index, of }) } else { Err(ShardError::Index { index, of }) }
    }

    /// Returns true if the item at this position belongs to the shard.
    pub fn has(self, position: usize) -> bool {
        position % self.of == self.index
    }

    /// Returns the shard that a scheduler gave this process in environment variables, which `variable` reads: those of a
    /// Slurm array (`SLURM_ARRAY_TASK_ID` and `SLURM_ARRAY_TASK_COUNT`, with the least id and the step), or those of an
    /// indexed Kubernetes job (`JOB_COMPLETION_INDEX`, and `DYNLAYER_SHARDS` for the number of completions). `None` if
    /// none of these is set.
    ///
    /// # Errors
    /// If only one of a pair is set, or one is empty or no number: otherwise all processes would do the same work, or
    /// leave some undone.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ShardError> {
        let number = |name: &'static str| -> Result<Option<usize>, ShardError> {
            let Some(found) = variable(name) else { return Ok(None) };
            found.trim().parse().map(Some).map_err(|_| ShardError::Variable { name, found })
        };
        let pair = |names: [&'static str; 2]| match (number(names[0])?, number(names[1])?) {
            (Some(index), Some(of)) => Ok(Some((index, of))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(ShardError::Missing { set: names[0], missing: names[1] }),
            (None, Some(_)) => Err(ShardError::Missing { set: names[1], missing: names[0] }),
        };
        if let Some((id, of)) = pair([SLURM[0], SLURM[1]])? {
            let (least, step) = (number(SLURM[2])?.unwrap_or(0), number(SLURM[3])?.unwrap_or(1).max(1));
            let index = id.checked_sub(least).ok_or(ShardError::Index { index: id, of })? / step;
            return Self::new(index, of).map(Some);
        }
        pair(KUBERNETES)?.map(|(index, of)| Self::new(index, of)).transpose()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError::Text { found: text.to_owned() };
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().map_err(|_| wrong());
        Self::new(number(index)?, number(of)?)
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(text: String) -> Result<Self, ShardError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// The error for an invalid shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// A text is no shard.
    #[error("{found:?} is no shard; expected an index from 0 and a number of shards, such as 3/50")]
    Text {
        /// The text.
        found: String,
    },
    /// An index is too large.
    #[error("shard {index} of {of}; expected an index from 0 to below the number of shards")]
    Index {
        /// The index.
        index: usize,
        /// The number of shards.
        of: usize,
    },
    /// A variable is no number.
    #[error("the environment variable {name} is {found:?}; expected a number, or unset it and name the shard")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
    },
    /// A variable is missing beside another one.
    #[error("the environment variable {set} is set, but not {missing}; set both, or name the shard")]
    Missing {
        /// The variable that is set.
        set: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Shard>, String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        Shard::from_variables(variable).map_err(|error| error.to_string())
    }

    #[test]
    fn schedulers_name_shards() {
        let shard = |index, of| Ok(Some(Shard { index, of }));
        let (id, count) = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT");
        assert_eq!(from(&[]), Ok(None));
        assert_eq!(from(&[("SLURM_JOB_ID", "7")]), Ok(None));
        assert_eq!(from(&[(id, "3"), (count, "5")]), shard(3, 5));
        assert_eq!(from(&[(id, "5"), (count, "5"), ("SLURM_ARRAY_TASK_MIN", "1")]), shard(4, 5));
        // --array=10-18:4
        let stepped = [(id, "18"), (count, "3"), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_STEP", "4")];
        assert_eq!(from(&stepped), shard(2, 3));
        assert_eq!(from(&[("JOB_COMPLETION_INDEX", "0"), ("DYNLAYER_SHARDS", "2")]), shard(0, 2));
    }

    #[test]
    fn what_would_repeat_or_lose_work_is_refused() {
        let (id, count) = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT");
        for (variables, expected) in [
            (vec![(id, "3")], "but not SLURM_ARRAY_TASK_COUNT"),
            (vec![(count, "3")], "but not SLURM_ARRAY_TASK_ID"),
            (vec![(id, ""), (count, "3")], "SLURM_ARRAY_TASK_ID is \"\"; expected a number"),
            (vec![(id, "1"), (count, "")], "SLURM_ARRAY_TASK_COUNT is \"\""),
            (vec![(id, "3"), (count, "3")], "shard 3 of 3"),
            (vec![(id, "0"), (count, "3"), ("SLURM_ARRAY_TASK_MIN", "1")], "shard 0 of 3"),
            (vec![("JOB_COMPLETION_INDEX", "0")], "but not DYNLAYER_SHARDS"),
        ] {
            let error = from(&variables).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        for text in ["", "/", "3", "3/", "/50", "-1/3", "3/3", "0/0", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_position_is_in_one_shard(of in 1_usize..9, position in 0_usize..1000) {
            let shards = (0..of).filter(|index| Shard::new(*index, of).is_ok_and(|shard| shard.has(position)));
            prop_assert_eq!(shards.count(), 1);
            let text = Shard::new(position % of, of).unwrap().to_string();
            prop_assert!(text.parse::<Shard>().unwrap().has(position));
        }
    }
}
