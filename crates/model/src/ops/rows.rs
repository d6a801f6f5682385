//! Row numbers as a tensor.

use burn::tensor::{Device, Int, Tensor};

/// Row numbers to select by, `[rows.len()]`.
pub(crate) fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    Tensor::from_data(rows.as_slice(), device)
}
