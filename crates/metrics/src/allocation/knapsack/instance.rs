//! The problem in whole numbers: groups of items that do not dominate each other.

/// An item of a group, relative to the group's cheapest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::allocation) struct Item {
    /// Cost in units of the instance's `cost_unit`, at least 0.
    pub cost: i64,
    /// Gain in units of the instance's `gain_unit`, at least 0.
    pub gain: i64,
    /// Index into the evidence's candidates.
    pub candidate: u32,
}

/// A multiple-choice knapsack: one item of each group, most gain within a capacity.
///
/// In every group costs and gains ascend strictly, from (0, 0). Dominated items are left out; of several items with the
/// same gain the cheapest is kept, and of equal items the first.
#[derive(Clone, Debug)]
pub(in crate::allocation) struct Instance {
    /// Group `i` has the items `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    items: Vec<Item>,
    /// The greatest common divisor of the costs that the instance was made from; costs are counted in it.
    pub cost_unit: i64,
    /// The greatest common divisor of the gains; gains are counted in it.
    pub gain_unit: i64,
}

impl Instance {
    /// An instance of groups in which items do not dominate each other; group `i` has the items
    /// `starts[i]..starts[i + 1]`.
    pub fn new(starts: Vec<usize>, mut items: Vec<Item>) -> Self {
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

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The items of a group.
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

    /// Returns the instance with cost and gain exchanged, both counted from each group's best item: an item costs the
    /// gain by which it is worse, and gains the cost by which it is cheaper. Item `k` of a group of `m` becomes item
    /// `m - 1 - k`.
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

/// The greatest common divisor; that of 0 and a number is the number.
fn divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
