//! The error for statistics that cannot be computed.

/// The error for statistics that cannot be computed, because of the data or of an option.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// There are too few values.
    #[error("{found} {what}; at least {needed} are needed")]
    TooFew {
        /// The kind of values.
        what: &'static str,
        /// Their number.
        found: usize,
        /// The number that is needed.
        needed: usize,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: found {found} values, expected {expected}; both lists need the same number")]
    Lengths {
        /// The lists' names.
        what: &'static str,
        /// The length of the second.
        found: usize,
        /// The length of the first.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of {what} is {value}; finite values are needed")]
    NotFinite {
        /// The list's name.
        what: &'static str,
        /// The value's index in it.
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
        /// The values that are allowed.
        expected: &'static str,
    },
}

/// Returns an error if the list is empty or a value is not finite.
pub(crate) fn check_values(what: &'static str, values: &[f64]) -> Result<(), StatisticsError> {
    if values.is_empty() {
        return Err(StatisticsError::TooFew { what, found: 0, needed: 1 });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(StatisticsError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}
