//! Rows of a batch, taken out and put back.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// The given rows of `x: [rows, tokens, d_model]`, in the given order.
pub(super) fn select(x: &Tensor<3>, rows: &[usize]) -> Tensor<3> {
    x.clone().select(0, index(rows, &x.device()))
}

/// Replaces the given rows of `all: [n, tokens, d_model]` by `ran: [rows.len(), tokens, d_model]`.
pub(super) fn scatter(all: &Tensor<3>, rows: &[usize], ran: Tensor<3>) -> Tensor<3> {
    let n = all.dims()[0];
    let mut from: Vec<usize> = (0..n).collect();
    for (i, row) in rows.iter().enumerate() {
        from[*row] = n + i;
    }
    select(&Tensor::cat(vec![all.clone(), ran], 0), &from)
}

/// Takes `ran` for rows that run and `kept` for the others; all are `[rows, tokens, d_model]`.
pub(super) fn keep_skippers(runs: &[bool], ran: Tensor<3>, kept: &Tensor<3>) -> Tensor<3> {
    let shape @ [rows, _, _] = ran.dims();
    let runs = Tensor::<3, Bool>::from_data(TensorData::new(runs.to_vec(), [rows, 1, 1]), &ran.device());
    kept.clone().mask_where(runs.expand(shape), ran)
}

fn index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    Tensor::from_data(rows.as_slice(), device)
}
