//! The description of one tensor in a checkpoint.

use std::ops::Range;

use super::error::FormatErrorKind;

/// The shape, the element type and the place in the file of one tensor.
///
/// `T` is the element type of the format: [`GgmlType`](super::GgmlType) or
/// [`SafetensorsDtype`](super::SafetensorsDtype).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo<T> {
    /// Sizes of the dimensions, row-major: the last one is contiguous.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: T,
    /// The position of the first byte of the data, from the beginning of the file.
    pub offset: u64,
    /// The number of bytes that the data take.
    pub bytes: u64,
}

impl<T> TensorInfo<T> {
    /// The number of elements: the product of the dimensions, 1 for a scalar.
    #[must_use]
    pub fn elements(&self) -> usize {
        product(&self.shape)
    }

    /// The number of elements in a row: the last dimension, 1 for a scalar.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of rows: the product of all dimensions but the last, 1 for a vector or a scalar.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, leading)| product(leading))
    }

    /// The number of bytes in a row; zero when there are no rows.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        u64::try_from(self.rows()).ok().and_then(|rows| self.bytes.checked_div(rows)).unwrap_or(0)
    }

    /// Returns the range of bytes that some rows take in the tensor's data. The name `tensor` is for errors.
    pub(super) fn row_range(&self, tensor: &str, rows: &Range<usize>) -> Result<Range<u64>, FormatErrorKind> {
        let out_of_range = || FormatErrorKind::PartOutOfRange {
            tensor: tensor.to_owned(),
            unit: "rows",
            start: u64::try_from(rows.start).unwrap_or(u64::MAX),
            end: u64::try_from(rows.end).unwrap_or(u64::MAX),
            available: u64::try_from(self.rows()).unwrap_or(u64::MAX),
        };
        if rows.start > rows.end || rows.end > self.rows() {
            return Err(out_of_range());
        }
        let at = |row: usize| {
            u64::try_from(row).ok().and_then(|row| row.checked_mul(self.row_bytes())).ok_or_else(out_of_range)
        };
        Ok(at(rows.start)?..at(rows.end)?)
    }
}

/// Returns the product of the dimensions.
///
/// The readers refuse shapes whose product overflows. Here the product saturates, so that a shape from a caller cannot
/// cause a panic either.
fn product(dimensions: &[usize]) -> usize {
    dimensions.iter().copied().fold(1, usize::saturating_mul)
}
