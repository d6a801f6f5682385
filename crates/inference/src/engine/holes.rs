//! `KvPolicy::Omit`: the slots that later tokens do not see.

/// One layer's holes: per row, the slots of tokens that skipped its attention, ascending.
#[derive(Debug, Default, Clone)]
pub(super) struct Holes(Vec<Vec<usize>>);

impl Holes {
    pub(super) fn new(rows: usize) -> Self {
        Self(vec![Vec::new(); rows])
    }

    /// Slots later than any before them.
    pub(super) fn add(&mut self, row: usize, slots: std::ops::Range<usize>) {
        self.0[row].extend(slots);
    }

    pub(super) fn of(&self, row: usize) -> &[usize] {
        &self.0[row]
    }

    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|row| !row.is_empty())
    }

    pub(super) fn contains(&self, row: usize, slot: usize) -> bool {
        self.0[row].binary_search(&slot).is_ok()
    }

    pub(super) fn select_rows(&mut self, rows: &[usize]) {
        self.0 = rows.iter().map(|row| self.0[*row].clone()).collect();
    }
}
