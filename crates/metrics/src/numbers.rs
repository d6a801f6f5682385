//! Conversions between whole and floating-point numbers.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the one place that converts: callers round on purpose or stay within the range"
)]

/// Conversion of a whole number to the nearest `f64`.
pub(crate) trait ToF64: Copy {
    /// The nearest `f64`: exact up to 2^53.
    fn to_f64(self) -> f64;
}

impl ToF64 for usize {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl ToF64 for u64 {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl ToF64 for i128 {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

/// The nearest whole number, clamped to the range of `i64`.
pub(crate) fn nearest(value: f64) -> i64 {
    value.round() as i64
}

/// The largest whole number that is at most `value`, clamped to the range of `i128`.
pub(crate) fn floor(value: f64) -> i128 {
    value.floor() as i128
}

/// The smallest whole number that is at least `value`, clamped to the range of `i128`.
pub(crate) fn ceil(value: f64) -> i128 {
    value.ceil() as i128
}

/// A list index from a number that is at least 0, rounded down.
pub(crate) fn index(value: f64) -> usize {
    value as usize
}

/// The arithmetic mean of `values`; NaN if there are none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().to_f64()
}
