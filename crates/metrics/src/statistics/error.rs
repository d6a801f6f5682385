//! Why there is no statistic.

/// Why there is no statistic.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// There are too few values.
    #[error("{found} {what}; at least {needed} are needed")]
    TooFew {
        /// What there are too few of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: {found} values beside {expected}; both need the same number")]
    Lengths {
        /// Which lists.
        what: &'static str,
        /// The length of the second.
        found: usize,
        /// The length of the first.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of {what} is {value}; finite values are needed")]
    NotFinite {
        /// Which list.
        what: &'static str,
        /// Where in it.
        index: usize,
        /// The value.
        value: f64,
    },
    /// An option is out of range.
    #[error("{option} is {found}; {expected} is needed")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// Refuses an empty list, and values that are not finite.
pub(crate) fn check_values(what: &'static str, values: &[f64]) -> Result<(), StatisticsError> {
    if values.is_empty() {
        return Err(StatisticsError::TooFew { what, found: 0, needed: 1 });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(StatisticsError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}
