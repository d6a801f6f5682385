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

/// Finds the index of the largest number of each row on the device, the first among equals. The indices are exact.
///
/// `None` unless the device is a GPU, since elsewhere nothing is gained over reading all numbers; and for tensors that the kernel
/// does not take: of another type than `f32`, on a device that records gradients, of more than 65,535 rows or 2^24 numbers in
/// a row, or empty.
///
/// A row with NaN or positive infinity has -1, and so has one without a number above [`f32::MIN`]. Negative infinity beside other
/// numbers is allowed.
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
