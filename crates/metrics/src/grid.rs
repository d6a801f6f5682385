//! Numbers in rows and columns.

use crate::statistics::StatisticsError;
use serde::{Deserialize, Serialize};

/// Finite numbers in rows and columns, such as one per layer and token.
///
/// ```
/// use dynlayer_metrics::Grid;
///
/// let grid = Grid::from_rows(vec![vec![1.0, 3.0], vec![0.0, 1.0]])?;
/// assert_eq!(grid.get(0, 1), Some(3.0));
/// assert_eq!(grid.row_means(), [2.0, 0.5]);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>")]
pub struct Grid(Vec<Vec<f64>>);

impl Grid {
    /// A grid of equally long rows.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::TooFew`] if there are no rows or columns, [`StatisticsError::Lengths`] if rows differ in
    /// length, [`StatisticsError::NotFinite`] for NaN and infinity, with an index that counts row by row.
    pub fn from_rows(rows: Vec<Vec<f64>>) -> Result<Self, StatisticsError> {
        let Some(expected) = rows.first().map(Vec::len) else {
            return Err(StatisticsError::TooFew { what: "rows", found: 0, needed: 1 });
        };
        if expected == 0 {
            return Err(StatisticsError::TooFew { what: "columns", found: 0, needed: 1 });
        }
        if let Some(found) = rows.iter().map(Vec::len).find(|length| *length != expected) {
            return Err(StatisticsError::Lengths { what: "rows of a grid", found, expected });
        }
        match rows.iter().flatten().position(|value| !value.is_finite()) {
            Some(index) => {
                let value = rows[index / expected][index % expected];
                Err(StatisticsError::NotFinite { what: "a grid", index, value })
            }
            None => Ok(Self(rows)),
        }
    }

    /// A grid of rows of `columns` values each; `values` holds at least one row.
    #[cfg(feature = "tensors")]
    pub(crate) fn from_values(values: &[f64], columns: usize) -> Self {
        Self(values.chunks(columns).map(<[f64]>::to_vec).collect())
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The number in a row and column; `None` outside of the grid.
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        self.0.get(row)?.get(column).copied()
    }

    /// The mean of each row.
    pub fn row_means(&self) -> Vec<f64> {
        self.0.iter().map(|row| crate::numbers::mean(row)).collect()
    }
}

impl TryFrom<Vec<Vec<f64>>> for Grid {
    type Error = StatisticsError;

    /// Makes a grid like [`Grid::from_rows`], except that an empty list makes an empty grid, which is the default.
    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, StatisticsError> {
        if rows.is_empty() { Ok(Self::default()) } else { Self::from_rows(rows) }
    }
}

impl From<Grid> for Vec<Vec<f64>> {
    fn from(grid: Grid) -> Self {
        grid.0
    }
}

#[cfg(test)]
mod tests {
    use super::Grid;
    use crate::statistics::StatisticsError;

    #[test]
    fn what_is_no_grid_is_refused() {
        assert!(matches!(Grid::from_rows(vec![]), Err(StatisticsError::TooFew { what: "rows", .. })));
        assert!(matches!(Grid::from_rows(vec![vec![]]), Err(StatisticsError::TooFew { what: "columns", .. })));
        let ragged = Grid::from_rows(vec![vec![1.0], vec![1.0, 2.0]]);
        assert!(matches!(ragged, Err(StatisticsError::Lengths { found: 2, expected: 1, .. })));
        for bad in [f64::NAN, f64::INFINITY] {
            let refused = Grid::from_rows(vec![vec![1.0, 2.0], vec![3.0, bad]]);
            assert!(matches!(refused, Err(StatisticsError::NotFinite { index: 3, .. })));
        }
    }

    #[test]
    fn files_are_checked_too() {
        let grid = Grid::from_rows(vec![vec![0.5, 1.0]]).unwrap();
        let text = serde_json::to_string(&grid).unwrap();
        assert_eq!(text, "[[0.5,1.0]]");
        assert_eq!(serde_json::from_str::<Grid>(&text).unwrap(), grid);
        assert_eq!(serde_json::from_str::<Grid>("[]").unwrap(), Grid::default());
        for text in ["[[]]", "[[],[1.0]]", "[[1.0],[1.0,2.0]]", "[[null]]"] {
            assert!(serde_json::from_str::<Grid>(text).is_err(), "{text}");
        }
    }
}
