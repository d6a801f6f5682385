//! Views of a site that hold some of its rows.

use super::{PassError, Row, Site, SiteLog};
use burn::tensor::Tensor;
use dynlayer_model::select_rows;

impl Site<'_> {
    /// Calls `f` with a site that holds only the rows of the given indices, under the given ids. The reads, head
    /// products and errors of the call are added to the log of `self`.
    ///
    /// # Panics
    /// If an index is out of range.
    pub(crate) fn part<R>(&self, rows: &[usize], ids: &[u64], f: impl FnOnce(&Site<'_>) -> R) -> R {
        let renamed = |(row, id): (&usize, &u64)| Row { id: *id, ..self.rows[*row].clone() };
        let chosen: Vec<Row> = rows.iter().zip(ids).map(renamed).collect();
        let padding: Vec<usize> = rows.iter().map(|row| self.padding[*row]).collect();
        let (hidden, embedded) = (pick(self.hidden, rows), pick(self.embedded, rows));
        let log = SiteLog::default();
        let result = f(&Site {
            model: self.model,
            layer: self.layer,
            phase: self.phase,
            rows: &chosen,
            hidden: &hidden,
            embedded: &embedded,
            padding: &padding,
            log: &log,
        });
        self.log.host_reads.set(self.log.host_reads.get() + log.host_reads.get());
        let heads = log.heads.into_inner().into_iter();
        self.log.heads.borrow_mut().extend(heads.map(|head| head.into_iter().map(|row| rows[row]).collect()));
        match log.error.into_inner() {
            Some(PassError::Controller(error)) => self.fail(error),
            Some(error) => {
                self.log.error.borrow_mut().get_or_insert(error);
            }
            None => {}
        }
        result
    }
}

/// Returns the given rows of `x: [rows, tokens, d_model]`, without a copy if they are consecutive.
fn pick(x: &Tensor<3>, rows: &[usize]) -> Tensor<3> {
    let first = rows.first().copied().unwrap_or(0);
    if rows.iter().copied().eq(first..first + rows.len()) {
        return if rows.len() == x.dims()[0] { x.clone() } else { x.clone().narrow(0, first, rows.len()) };
    }
    select_rows(x.clone(), rows)
}
