//! Conversion of evidence to whole numbers for the knapsack solver, and of its results back to means.

use super::knapsack::{Instance, Item};
use super::unit::unit_of;
use super::{AllocationError, Cell, Column, Evidence};
use crate::numbers::{ToF64, nearest};

/// The unit in which qualities are counted.
pub(super) const QUALITY_UNIT: f64 = 1e-9;
/// The largest sum of costs or of qualities. The product of two such sums, and the sum of a few such products, fit in
/// 128 bits.
const LARGEST_SUM: i128 = 1 << 61;

/// A knapsack instance made from evidence, with the units and offsets that turn its numbers back into means.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    pub instance: Instance,
    /// Size of one unit of cost, in the evidence's measure of cost.
    pub unit: f64,
    /// Sum of the groups' least costs, in units.
    pub base_cost: i64,
    /// Sum of the qualities of the groups' cheapest items, in units of quality.
    pub base_quality: i64,
}

impl Scaled {
    /// Converts the evidence to an instance whose gains are the qualities in a column.
    pub fn new(evidence: &Evidence, column: Column) -> Result<Self, AllocationError> {
        if !evidence.has(column) {
            return Err(AllocationError::Column { column });
        }
        let n = evidence.sequences().len();
        let rows = || (0..n).map(|sequence| evidence.row(sequence));
        let value = |cell: &Cell| cell.value(column).unwrap_or_default();
        let largest_total: f64 = rows().map(|row| row.map(|cell| cell.cost).fold(0.0, f64::max)).sum();
        let limit = 1e300;
        if largest_total > limit {
            return Err(AllocationError::TooLarge { what: "costs", found: largest_total, limit });
        }
        let largest: f64 = rows().map(|row| row.map(|cell| value(&cell).abs()).fold(0.0, f64::max)).sum();
        let limit = LARGEST_SUM.to_f64() * QUALITY_UNIT / 2.0;
        if largest > limit {
            return Err(AllocationError::TooLarge { what: "qualities", found: largest, limit });
        }
        let unit = unit_of(evidence.costs(), largest_total);
        let (mut base_cost, mut base_quality) = (0, 0);
        let (mut starts, mut items) = (Vec::with_capacity(n + 1), Vec::new());
        starts.push(0);
        let mut group = Vec::new();
        for row in rows() {
            group.clear();
            group.extend(row.map(|cell| Item {
                cost: nearest(cell.cost / unit),
                gain: nearest(value(&cell) / QUALITY_UNIT),
                candidate: u32::try_from(cell.candidate).unwrap_or(u32::MAX), // the table's indices are 32 bits wide
            }));
            let first = keep_undominated(&mut group);
            base_cost += first.cost;
            base_quality += first.gain;
            items.extend_from_slice(&group);
            starts.push(items.len());
        }
        Ok(Self { instance: Instance::new(starts, items), unit, base_cost, base_quality })
    }

    /// Number of groups, one per sequence.
    pub fn len(&self) -> usize {
        self.instance.len()
    }

    /// Mean cost of a choice whose cost in the instance is `cost`.
    pub fn mean_cost_of(&self, cost: i64) -> f64 {
        self.mean_cost(i128::from(self.base_cost) + i128::from(cost) * i128::from(self.instance.cost_unit))
    }

    /// Mean quality of a choice whose gain in the instance is `gain`.
    pub fn mean_quality_of(&self, gain: i64) -> f64 {
        self.mean_quality(i128::from(self.base_quality) + i128::from(gain) * i128::from(self.instance.gain_unit))
    }

    /// Converts a total cost in units to the mean cost of a sequence.
    pub fn mean_cost(&self, cost: i128) -> f64 {
        cost.to_f64() * self.unit / self.len().to_f64()
    }

    /// Converts a total quality in units to the mean quality of a sequence.
    pub fn mean_quality(&self, quality: i128) -> f64 {
        quality.to_f64() * QUALITY_UNIT / self.len().to_f64()
    }
}

/// Removes dominated items and sorts the others by cost, subtracts the cheapest one's cost and gain from all of them,
/// and returns the cheapest one.
fn keep_undominated(group: &mut Vec<Item>) -> Item {
    group.sort_by(|a, b| a.cost.cmp(&b.cost).then(b.gain.cmp(&a.gain)));
    let mut best = i64::MIN;
    group.retain(|item| {
        let better = item.gain > best;
        best = best.max(item.gain);
        better
    });
    let first = group[0];
    for item in group {
        item.cost -= first.cost;
        item.gain -= first.gain;
    }
    first
}
