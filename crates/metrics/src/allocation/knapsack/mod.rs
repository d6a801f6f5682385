//! An exact solver of the multiple-choice knapsack in whole numbers, which grows a core around the linear relaxation.

mod core;
pub(super) mod hull;
mod instance;

pub(super) use hull::Step;
pub(super) use instance::{Instance, Item};

use self::core::{Core, Outcome};
use hull::steps;

/// A choice of one item per group.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    /// For each group the index of the item within the group.
    pub picks: Vec<u32>,
    pub gain: i64,
    /// A gain that no choice within the capacity exceeds.
    pub bound: i64,
    /// True if it is proven that no choice has a higher gain, and none with the same gain a lower cost.
    pub optimal: bool,
    /// Number of states that dynamic programming has examined.
    pub work: u64,
}

/// A choice, represented by its differences from another one.
#[derive(Clone, Debug, Default)]
struct Change {
    cost: i64,
    gain: i64,
    /// The groups that differ, with their items.
    picks: Vec<(u32, u32)>,
}

/// Returns the choice of highest gain within the capacity; among equals, one of least cost.
///
/// The relaxation (Sinha & Zoltners 1979) gives a choice that is optimal for its own cost, and the gain per unit of
/// capacity of the next step. The capacity that the choice leaves is spent greedily, which gives a first solution.
/// [`Core`] then proves that it is optimal or finds better ones, and stops after about `limit` states.
pub(super) fn solve(instance: &Instance, capacity: i64, limit: u64) -> Solution {
    let steps = steps(instance);
    let mut picks = vec![0u32; instance.len()];
    let (mut cost, mut gain, mut taken) = (0, 0, 0);
    for step in &steps {
        if cost + step.cost > capacity {
            break;
        }
        picks[step.group as usize] = step.to;
        cost += step.cost;
        gain += step.gain;
        taken += 1;
    }
    let Some(next) = steps.get(taken) else {
        // Every group has its best item, which is the cheapest one of that gain.
        return Solution { picks, gain, bound: gain, optimal: true, work: 0 };
    };
    let first = fill(&steps[taken..], &picks, capacity - cost);
    let core = Core::new(instance, &picks, (next.gain, next.cost), capacity - cost);
    let Outcome { change, bound, optimal, work } = core.improve(first, limit);
    for (group, item) in change.picks {
        picks[group as usize] = item;
    }
    Solution { picks, gain: gain + change.gain, bound: gain + bound, optimal, work }
}

/// Takes the steps that still fit, in their order.
fn fill(steps: &[Step], picks: &[u32], mut room: i64) -> Change {
    let mut change = Change::default();
    let mut moved = std::collections::HashMap::new();
    for step in steps {
        if room == 0 {
            break;
        }
        let at = moved.get(&step.group).copied().unwrap_or(picks[step.group as usize]);
        if step.cost <= room && at == step.from {
            moved.insert(step.group, step.to);
            room -= step.cost;
            change.cost += step.cost;
            change.gain += step.gain;
        }
    }
    change.picks = moved.into_iter().collect();
    change
}
