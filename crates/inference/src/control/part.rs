//! A site as some of its rows see it.

use super::site::Watch;
use super::{Row, Site};
use burn::tensor::{Int, Tensor};

impl Site<'_> {
    /// Shows some rows alone, by index and under ids of their own, as if they were the batch. What is read and computed
    /// meanwhile counts for these rows here.
    ///
    /// # Panics
    /// If an index is out of range.
    pub(crate) fn part<R>(&self, rows: &[usize], ids: &[u64], see: impl FnOnce(&Site<'_>) -> R) -> R {
        let renamed = |(row, id): (&usize, &u64)| Row { id: *id, ..self.rows[*row].clone() };
        let chosen: Vec<Row> = rows.iter().zip(ids).map(renamed).collect();
        let padding: Vec<usize> = rows.iter().map(|row| self.padding[*row]).collect();
        let (hidden, embedded) = (pick(self.hidden, rows), pick(self.embedded, rows));
        let watch = Watch::default();
        let seen = see(&Site {
            model: self.model,
            layer: self.layer,
            phase: self.phase,
            rows: &chosen,
            hidden: &hidden,
            embedded: &embedded,
            padding: &padding,
            watch: &watch,
        });
        self.watch.host_reads.set(self.watch.host_reads.get() + watch.host_reads.get());
        let heads = watch.heads.into_inner().into_iter();
        self.watch.heads.borrow_mut().extend(heads.map(|of| of.into_iter().map(|row| rows[row]).collect()));
        if let Some(fault) = watch.fault.into_inner() {
            self.watch.note(fault.expected, fault.found);
        }
        if let Some(failure) = watch.failure.into_inner() {
            self.fail(failure);
        }
        seen
    }
}

/// Some rows of `[rows, tokens, d_model]`; without a copy where they are neighbours.
fn pick(x: &Tensor<3>, rows: &[usize]) -> Tensor<3> {
    let first = rows.first().copied().unwrap_or(0);
    if rows.iter().copied().eq(first..first + rows.len()) {
        return if rows.len() == x.dims()[0] { x.clone() } else { x.clone().narrow(0, first, rows.len()) };
    }
    let index: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    x.clone().select(0, Tensor::<1, Int>::from_data(index.as_slice(), &x.device()))
}
