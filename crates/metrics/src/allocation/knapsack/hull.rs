//! The linear relaxation: upward steps along each group's upper convex hull, in order of falling slope.

use super::instance::{Instance, Item};
use std::cmp::Ordering;

/// A change from one item on the hull of a group to the next.
#[derive(Clone, Copy, Debug)]
pub(in crate::allocation) struct Step {
    pub group: u32,
    /// Index within the group of the item that is replaced.
    pub from: u32,
    /// Index within the group of the item that replaces it.
    pub to: u32,
    /// Additional cost, above 0.
    pub cost: i64,
    /// Additional gain, above 0.
    pub gain: i64,
}

/// Compares two slopes, each a pair of gain and cost, exactly.
pub(super) fn compare_slopes(a: (i64, i64), b: (i64, i64)) -> Ordering {
    (i128::from(a.0) * i128::from(b.1)).cmp(&(i128::from(b.0) * i128::from(a.1)))
}

/// Returns the steps of all groups in order of falling slope, equal ones in the order of their groups (Kellerer,
/// Pferschy & Pisinger 2004, section 11.2.1, after Sinha & Zoltners 1979).
///
/// Within a group slopes descend strictly, so the first `n` steps, taken from the first item of every group, lead to a
/// choice of one item per group. No choice of at most the same cost gains more.
pub(in crate::allocation) fn steps(instance: &Instance) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut hull = Vec::new();
    for group in 0..instance.len() {
        let items = instance.group(group);
        upper_hull(items, &mut hull);
        steps.extend(hull.windows(2).map(|pair| {
            let (from, to) = (items[pair[0] as usize], items[pair[1] as usize]);
            // 2^32 groups would take more than 100 GB.
            let group = u32::try_from(group).unwrap_or(u32::MAX);
            Step { group, from: pair[0], to: pair[1], cost: to.cost - from.cost, gain: to.gain - from.gain }
        }));
    }
    steps.sort_by(|a, b| compare_slopes((b.gain, b.cost), (a.gain, a.cost)));
    steps
}

/// Fills `hull` with the indices of the items on the upper hull; an item on the line between two others is left out.
fn upper_hull(items: &[Item], hull: &mut Vec<u32>) {
    hull.clear();
    let slope = |from: u32, to: u32| {
        let (from, to) = (items[from as usize], items[to as usize]);
        (to.gain - from.gain, to.cost - from.cost)
    };
    for next in (0u32..).take(items.len()) {
        while let [.., before, last] = hull[..] {
            if compare_slopes(slope(before, last), slope(last, next)) == Ordering::Greater {
                break;
            }
            hull.pop();
        }
        hull.push(next);
    }
}
