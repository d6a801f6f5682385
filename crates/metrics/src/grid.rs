//! Numbers in rows and columns.

use crate::statistics::StatisticsError;
use serde::{Deserialize, Serialize};

/// Numbers in rows and columns, such as one per layer and token.
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
#[serde(transparent)]
pub struct Grid(Vec<Vec<f64>>);

impl Grid {
    /// A grid of equally long rows.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::TooFew`] without rows or columns, [`StatisticsError::Lengths`] if rows differ in length.
    pub fn from_rows(rows: Vec<Vec<f64>>) -> Result<Self, StatisticsError> {
        let Some(expected) = rows.first().map(Vec::len) else {
            return Err(StatisticsError::TooFew { what: "rows", found: 0, needed: 1 });
        };
        if expected == 0 {
            return Err(StatisticsError::TooFew { what: "columns", found: 0, needed: 1 });
        }
        match rows.iter().map(Vec::len).find(|length| *length != expected) {
            Some(found) => Err(StatisticsError::Lengths { what: "rows of a grid", found, expected }),
            None => Ok(Self(rows)),
        }
    }

    /// Values of at least one row of `columns` each, row-major.
    pub(crate) fn from_values(values: &[f64], columns: usize) -> Self {
        Self(values.chunks(columns).map(<[f64]>::to_vec).collect())
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The number in a row and column; `None` outside.
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        self.0.get(row)?.get(column).copied()
    }

    /// The mean of each row.
    pub fn row_means(&self) -> Vec<f64> {
        self.0.iter().map(|row| crate::tensors::mean(row)).collect()
    }
}
