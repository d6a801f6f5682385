//! Conversions between the user's floating-point numbers and the whole numbers that allocations are made in.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the one place that converts; every caller stays within the range or rounds on purpose"
)]

/// Quality is counted in units of this much.
pub(crate) const QUALITY_UNIT: f64 = 1e-9;

/// A count as a factor or divisor.
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

/// A whole number, rounded to what a double holds.
pub(crate) fn real(value: i128) -> f64 {
    value as f64
}

/// The nearest whole number; the limits of the type where the value is beyond them.
pub(crate) fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// The largest whole number that is not above the value; the limits of the type where the value is beyond them.
pub(crate) fn floor(value: f64) -> i128 {
    value.floor() as i128
}

/// The smallest whole number that is not below the value; the limits of the type where the value is beyond them.
pub(crate) fn ceil(value: f64) -> i128 {
    value.ceil() as i128
}

/// The power of two.
pub(crate) fn power_of_two(exponent: f64) -> f64 {
    exponent.exp2()
}

/// A place in a list, from a number that is whole and within it.
#[allow(clippy::cast_sign_loss, reason = "places are not negative")]
pub(crate) fn index(place: f64) -> usize {
    place as usize
}
