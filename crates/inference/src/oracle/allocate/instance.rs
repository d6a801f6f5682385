//! The problem in whole numbers: groups of items that do not dominate each other.

use super::AllocationError;
use super::unit::unit_of;
use crate::oracle::numbers::{QUALITY_UNIT, count, real, whole};
use crate::oracle::{Column, Evidence};

/// What sums may reach: products of two such numbers, and sums of a few of those, stay within 128 bits.
const LARGEST_SUM: i128 = 1 << 61;

/// A candidate of a group, counted from the group's cheapest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// In units of the instance's `cost_unit`, at least 0.
    pub cost: i64,
    /// In units of the instance's `gain_unit`, at least 0.
    pub gain: i64,
    /// Index into the evidence's candidates.
    pub candidate: u32,
}

/// A multiple-choice knapsack: one item of each group, most gain within a capacity.
///
/// In every group costs and gains ascend strictly, from (0, 0): dominated items are gone, the cheapest one of several
/// with the same gain is kept, and of equal ones the first.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// Group `i` has the items `starts[i]..starts[i + 1]`.
    pub starts: Vec<usize>,
    pub items: Vec<Item>,
    /// What all costs are multiples of.
    pub cost_unit: i64,
    /// What all gains are multiples of.
    pub gain_unit: i64,
}

/// The evidence as an instance, and what leads back from it.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    pub instance: Instance,
    /// Cost of a unit, in the evidence's measure.
    pub unit: f64,
    /// The sum of the groups' least costs, in units.
    pub base_cost: i64,
    /// The sum of the qualities of the groups' cheapest items, in units of 1e-9.
    pub base_quality: i64,
}

impl Scaled {
    pub fn new(evidence: &Evidence, column: Column) -> Result<Self, AllocationError> {
        if !evidence.has(column) {
            return Err(AllocationError::Column { column });
        }
        let n = evidence.sequences().len();
        let rows = || (0..n).map(|sequence| evidence.row(sequence));
        let value = |cell: &crate::oracle::Cell| cell.value(column).unwrap_or_default();
        let dearest: f64 = rows().map(|row| row.map(|cell| cell.cost).fold(0.0, f64::max)).sum();
        let limit = 1e300;
        if dearest > limit {
            return Err(AllocationError::TooLarge { what: "costs", found: dearest, limit });
        }
        let largest: f64 = rows().map(|row| row.map(|cell| value(&cell).abs()).fold(0.0, f64::max)).sum();
        let limit = real(LARGEST_SUM) * QUALITY_UNIT / 2.0;
        if largest > limit {
            return Err(AllocationError::TooLarge { what: "qualities", found: largest, limit });
        }
        let unit = unit_of(evidence.costs(), dearest);
        let (mut base_cost, mut base_quality) = (0, 0);
        let (mut starts, mut items) = (Vec::with_capacity(n + 1), Vec::new());
        starts.push(0);
        let mut group = Vec::new();
        for row in rows() {
            group.clear();
            group.extend(row.map(|cell| Item {
                cost: whole(cell.cost / unit),
                gain: whole(value(&cell) / QUALITY_UNIT),
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

    /// Groups.
    pub fn len(&self) -> usize {
        self.instance.len()
    }

    /// The mean cost of a choice that costs so much in the instance.
    pub fn mean_cost_of(&self, cost: i64) -> f64 {
        self.mean_cost(i128::from(self.base_cost) + i128::from(cost) * i128::from(self.instance.cost_unit))
    }

    /// The mean quality of a choice that gains so much in the instance.
    pub fn mean_quality_of(&self, gain: i64) -> f64 {
        self.mean_quality(i128::from(self.base_quality) + i128::from(gain) * i128::from(self.instance.gain_unit))
    }

    /// Units of cost as the mean cost of a sequence.
    pub fn mean_cost(&self, cost: i128) -> f64 {
        real(cost) * self.unit / count(self.len())
    }

    /// Units of quality as the mean quality of a sequence.
    pub fn mean_quality(&self, quality: i128) -> f64 {
        real(quality) * QUALITY_UNIT / count(self.len())
    }
}

impl Instance {
    fn new(starts: Vec<usize>, mut items: Vec<Item>) -> Self {
        let unit = |value: fn(&Item) -> i64| {
            let mut unit = 0;
            for item in &items {
                unit = divisor(unit, value(item));
                if unit == 1 {
                    break;
                }
            }
            unit.max(1)
        };
        let (cost_unit, gain_unit) = (unit(|item| item.cost), unit(|item| item.gain));
        for item in &mut items {
            item.cost /= cost_unit;
            item.gain /= gain_unit;
        }
        Self { starts, items, cost_unit, gain_unit }
    }

    /// Groups.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn group(&self, group: usize) -> &[Item] {
        &self.items[self.starts[group]..self.starts[group + 1]]
    }

    /// The sums of the groups' largest costs and gains.
    pub fn largest(&self) -> (i64, i64) {
        self.starts[1..].iter().fold((0, 0), |(cost, gain), end| {
            let item = self.items[end - 1];
            (cost + item.cost, gain + item.gain)
        })
    }

    /// The same choices seen from the other side: an item costs the gain that it lacks to its group's best one, and
    /// gains the cost that it saves against it. Item `k` of a group of `m` becomes item `m - 1 - k`.
    pub fn swapped(&self) -> Self {
        let mut items = Vec::with_capacity(self.items.len());
        for group in 0..self.len() {
            let group = self.group(group);
            let last = group[group.len() - 1];
            items.extend(group.iter().rev().map(|item| Item {
                cost: last.gain - item.gain,
                gain: last.cost - item.cost,
                candidate: item.candidate,
            }));
        }
        Self { starts: self.starts.clone(), items, cost_unit: self.gain_unit, gain_unit: self.cost_unit }
    }
}

/// Leaves the items that no other one dominates, relative to the first of them, which is returned.
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

/// The greatest common divisor; of 0 and a number the number.
fn divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
