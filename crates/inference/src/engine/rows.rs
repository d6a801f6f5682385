//! Functions that combine rows that ran a sublayer with the rows that skipped it.

use burn::tensor::{Bool, Tensor, TensorData};
use dynlayer_model::select_rows;

/// Replaces the given rows of `all: [n, tokens, d_model]` by `ran: [rows.len(), tokens, d_model]`.
pub(super) fn scatter(all: &Tensor<3>, rows: &[usize], ran: Tensor<3>) -> Tensor<3> {
    let n = all.dims()[0];
    let mut from: Vec<usize> = (0..n).collect();
    for (i, row) in rows.iter().enumerate() {
        from[*row] = n + i;
    }
    select_rows(Tensor::cat(vec![all.clone(), ran], 0), &from)
}

/// Returns the states of `ran` for rows that run, and those of `kept` for the others: `[rows, tokens, d_model]`, like
/// both arguments.
pub(super) fn keep_skippers(runs: &[bool], ran: Tensor<3>, kept: &Tensor<3>) -> Tensor<3> {
    let shape @ [rows, _, _] = ran.dims();
    let runs = Tensor::<3, Bool>::from_data(TensorData::new(runs.to_vec(), [rows, 1, 1]), &ran.device());
    kept.clone().mask_where(runs.expand(shape), ran)
}
