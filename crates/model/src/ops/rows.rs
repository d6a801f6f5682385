//! Rows of a batch: selecting them, and the largest number of each.

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

/// Finds the index of the largest number of each row on the device, the first among equals. `None` unless the device is a GPU:
/// elsewhere, nothing is gained over reading all numbers.
///
/// A row with NaN or infinity has -1, and so has one without a number above [`f32::MIN`]; negative infinity beside other
/// numbers is allowed. The indices are exact.
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - result: `[rows]`
pub fn largest_in_rows(x: &Tensor<2>) -> Option<Tensor<1>> {
    #[cfg(feature = "gpu")]
    return super::gpu::largest(x);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = x;
        None
    }
}

/// Makes a tensor `[rows.len()]` of row numbers, for [`Tensor::select`].
pub(crate) fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    Tensor::from_data(rows.as_slice(), device)
}
