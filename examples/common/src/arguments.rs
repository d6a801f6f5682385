//! Values of command lines.

use std::str::FromStr;

/// Reads a value with spaces around it, such as the second one of `2, 11`. It is the `value_parser` of lists.
pub fn trimmed<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().parse()
}
