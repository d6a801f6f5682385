//! Conversions of counts, in one place.

/// A count as a number.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52, and where they are not, 2^-52 is enough")]
pub(crate) fn from_u64(count: u64) -> f64 {
    count as f64
}

/// A length or an index as a number.
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
pub(crate) fn from_usize(count: usize) -> f64 {
    count as f64
}
