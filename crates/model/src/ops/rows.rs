//! Selecting rows of a batch.

use burn::tensor::{Device, Int, Tensor};

/// Returns the given rows of `x`, in the given order; a row may occur more than once.
///
/// # Shapes
/// - `x`: `[rows, ..]`
/// - result: `[rows.len(), ..]`
///
/// # Panics
/// If a row is out of range, on backends that check indices.
pub fn select_rows<const D: usize>(x: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let index = row_index(rows, &x.device());
    x.select(0, index)
}

/// Makes a tensor `[rows.len()]` of row numbers, for [`Tensor::select`].
pub(crate) fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    Tensor::from_data(rows.as_slice(), device)
}
