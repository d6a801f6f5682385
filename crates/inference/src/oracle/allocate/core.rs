//! Dynamic programming over the few groups for which the relaxation does not settle the choice.

use super::change::Change;
use super::hull::compare_slopes;
use super::instance::Instance;
use std::cmp::Ordering;

/// The most states that are compared at once; 40 bytes each.
const MOST_STATES: usize = 1 << 21;
/// The most decisions that are remembered; 12 bytes each.
const MOST_NODES: usize = 1 << 23;
/// How many states are kept where not all can be.
const THINNED: usize = 1 << 13;
/// No decision yet.
const ROOT: u32 = u32::MAX;

/// The groups that may change, seen from the relaxation's choice, the *base*.
///
/// With a price of `p / r` per unit of cost, every item has a *loss*: `r gain - p cost` of the base's item, which is
/// the group's largest, less its own. Losses add up, and a choice of loss `l` and cost `c` gains `(p c - l) / r` over
/// the base. So a choice that is to beat a known solution within the capacity may lose no more than an *allowance*;
/// items beyond it cannot be in it, and groups with no other item within it keep their base item (the reduction of
/// Kellerer, Pferschy & Pisinger 2004, section 11.4). The other groups are the core. They are joined one by one,
/// least loss first, by dynamic programming over undominated pairs of cost and gain, each tested against an upper bound
/// (Pisinger 1995, "A minimal algorithm for the multiple-choice knapsack problem"); whenever a better solution turns up
/// the allowance shrinks, and with it the core.
pub(super) struct Core<'a> {
    instance: &'a Instance,
    base: &'a [u32],
    price: (i64, i64),
    /// What the base leaves of the capacity.
    room: i64,
}

/// What came of it, relative to the base.
pub(super) struct Outcome {
    pub change: Change,
    /// No choice within the capacity gains more.
    pub bound: i64,
    pub optimal: bool,
    pub work: u64,
}

/// A choice for the groups joined so far, relative to the base.
#[derive(Clone, Copy)]
struct State {
    cost: i64,
    gain: i64,
    node: u32,
}

/// A state that may or may not be kept.
#[derive(Clone, Copy)]
struct Candidate {
    state: State,
    /// The item that the newest group takes; `u32::MAX` for that of the base.
    item: u32,
}

/// A decision on the way to a state.
struct Node {
    before: u32,
    group: u32,
    item: u32,
}

/// An item other than the base's, relative to it.
#[derive(Clone, Copy)]
struct Move {
    cost: i64,
    gain: i64,
    item: u32,
}

/// Gain per cost of the best moves that dearer, or cheaper, items of some groups offer.
#[derive(Clone, Copy)]
struct Slopes {
    up: Option<(i64, i64)>,
    down: Option<(i64, i64)>,
}

impl Slopes {
    /// Whether a state may still reach that gain at that cost or less.
    fn reach(&self, state: &State, gain: i64, cost: i64) -> bool {
        let more = i128::from(cost) - i128::from(state.cost);
        let missing = i128::from(gain) - i128::from(state.gain);
        match if more >= 0 { self.up } else { self.down } {
            Some((p, r)) => i128::from(r) * missing <= i128::from(p) * more,
            None => more >= 0 && missing <= 0,
        }
    }

    /// The most that a state may gain at that cost or less, if anything.
    fn bound(&self, state: &State, cost: i64) -> Option<i64> {
        let more = i128::from(cost) - i128::from(state.cost);
        match if more >= 0 { self.up } else { self.down } {
            Some((p, r)) => {
                let above = (i128::from(p) * more).div_euclid(i128::from(r));
                i64::try_from(i128::from(state.gain) + above).ok()
            }
            None => (more >= 0).then_some(state.gain),
        }
    }
}

/// The best solution so far.
struct Best {
    cost: i64,
    gain: i64,
}

impl Best {
    fn beaten_by(&self, state: &State, room: i64) -> bool {
        state.cost <= room && (state.gain, -state.cost) > (self.gain, -self.cost)
    }
}

impl<'a> Core<'a> {
    pub fn new(instance: &'a Instance, base: &'a [u32], price: (i64, i64), room: i64) -> Self {
        Self { instance, base, price, room }
    }

    /// Improves on a first solution until there is no better one, or about `limit` states have been looked at.
    ///
    /// A short search settles all but the hardest instances. For those a search that keeps a part of the states finds
    /// a solution that is mostly as good as the bound, and so needs no more proof; else the long search has the rest.
    pub fn improve(&self, first: Change, limit: u64) -> Outcome {
        let bound = self.relaxed().max(first.gain);
        let mut all = Outcome { change: first, bound, optimal: false, work: 0 };
        for (limit, thinned) in [(limit / 50, false), (limit / 5, true), (limit / 100 * 78, false)] {
            let Outcome { change, bound, optimal, work } = self.search(all.change, limit, thinned);
            let bound = bound.min(all.bound).max(change.gain);
            all = Outcome { change, bound, optimal, work: all.work + work };
            if optimal {
                break;
            }
        }
        all
    }

    fn search(&self, first: Change, limit: u64, thinned: bool) -> Outcome {
        let mut best = Best { cost: first.cost, gain: first.gain };
        let mut found = None;
        let mut allowance = self.allowance(&best);
        if allowance < 0 {
            return Outcome { change: first, bound: best.gain, optimal: true, work: 0 };
        }
        let core = self.groups(allowance);
        let mut end = core.len();
        let mut slopes = self.slopes(&core, 0, end, allowance);
        let mut slopes_end = end;
        let mut nodes: Vec<Node> = Vec::new();
        let mut states = vec![State { cost: 0, gain: 0, node: ROOT }];
        let mut joined: Vec<Candidate> = Vec::new();
        let (mut work, mut at) = (0u64, 0);
        let mut bound = None;
        while at < end && !states.is_empty() {
            let group = core[at].1;
            let moves = self.moves(group, allowance);
            let looks = states.len() as u64 * (moves.len() as u64 + 1);
            let after = slopes[at + 1];
            let worth = |state: &State| {
                best.beaten_by(state, self.room)
                    || after.reach(state, best.gain + 1, self.room)
                    || after.reach(state, best.gain, best.cost - 1)
            };
            joined.clear();
            let fits = work + looks <= limit && nodes.len() < MOST_NODES;
            if !(fits && join(&states, &moves, &mut joined, worth)) {
                bound = Some(states.iter().filter_map(|state| slopes[at].bound(state, self.room)).max());
                break;
            }
            work += looks;
            keep_undominated(&mut joined);
            if thinned {
                self.thin(&mut joined);
            }
            states.clear();
            let mut better = false;
            for Candidate { mut state, item } in joined.drain(..) {
                if item != u32::MAX {
                    nodes.push(Node { before: state.node, group, item });
                    state.node = u32::try_from(nodes.len() - 1).unwrap_or(ROOT);
                }
                if best.beaten_by(&state, self.room) {
                    best = Best { cost: state.cost, gain: state.gain };
                    found = Some(state);
                    better = true;
                }
                states.push(state);
            }
            at += 1;
            if better {
                allowance = self.allowance(&best);
                end = core.partition_point(|(loss, _)| *loss <= allowance).min(end);
                // Fewer groups give tighter bounds, but finding them takes time.
                if at < end && (end - at) * 2 <= slopes_end - at {
                    slopes = self.slopes(&core, at, end, allowance);
                    slopes_end = end;
                }
            }
        }
        // A solution that the price alone proves needs no search to have been complete.
        let optimal = allowance < 0 || (bound.is_none() && !thinned);
        let bound = match bound {
            _ if optimal => best.gain,
            Some(bound) if !thinned => bound.unwrap_or(best.gain).max(best.gain),
            _ => self.relaxed().max(best.gain),
        };
        Outcome { change: Self::change(first, found, &nodes), bound, optimal, work }
    }

    /// Leaves some of many states, evenly spread in cost; those within a group's reach of the room, if they are enough.
    fn thin(&self, joined: &mut Vec<Candidate>) {
        if joined.len() <= THINNED {
            return;
        }
        let reach = self.price.1;
        let near = |limit: i64| joined.partition_point(|candidate| candidate.state.cost < limit);
        let mut range = near(self.room - reach)..near(self.room + reach);
        if range.len() < THINNED {
            range = 0..joined.len();
        }
        let (first, last) = (range.start, range.len() - 1);
        *joined = (0..THINNED).map(|i| joined[first + i * last / (THINNED - 1)]).collect();
    }

    /// What a choice may lose that gains more than the best one within the room, or as much at less cost.
    fn allowance(&self, best: &Best) -> i128 {
        let (p, r) = (i128::from(self.price.0), i128::from(self.price.1));
        let (gain, cost) = (i128::from(best.gain), i128::from(best.cost));
        let better = p * i128::from(self.room) - r * (gain + 1);
        let cheaper = p * (cost - 1) - r * gain;
        better.max(cheaper)
    }

    /// The relaxation's bound.
    fn relaxed(&self) -> i64 {
        let (p, r) = (i128::from(self.price.0), i128::from(self.price.1));
        i64::try_from((p * i128::from(self.room)).div_euclid(r)).unwrap_or(i64::MAX)
    }

    fn loss(&self, gain: i64, cost: i64) -> i128 {
        i128::from(self.price.0) * i128::from(cost) - i128::from(self.price.1) * i128::from(gain)
    }

    /// The items of a group that a better choice may have, other than the base's.
    fn moves(&self, group: u32, allowance: i128) -> Vec<Move> {
        self.all_moves(group).filter(|change| self.loss(change.gain, change.cost) <= allowance).collect()
    }

    fn all_moves(&self, group: u32) -> impl Iterator<Item = Move> + '_ {
        let items = self.instance.group(group as usize);
        let own = self.base[group as usize];
        let base = items[own as usize];
        (0u32..).zip(items).filter(move |(item, _)| *item != own).map(move |(item, other)| Move {
            cost: other.cost - base.cost,
            gain: other.gain - base.gain,
            item,
        })
    }

    /// The groups that have such items, by the least loss of one.
    fn groups(&self, allowance: i128) -> Vec<(i128, u32)> {
        let least = |group| self.all_moves(group).map(|change| self.loss(change.gain, change.cost)).min();
        let groups = (0u32..).take(self.base.len());
        let groups = groups.filter_map(|group| least(group).map(|loss| (loss, group)));
        let mut core: Vec<(i128, u32)> = groups.filter(|(loss, _)| *loss <= allowance).collect();
        core.sort_unstable();
        // Among equal losses, groups that can become dearer take turns with those that cannot: it takes both to fill
        // the room, and the relaxation leaves the ones before its last step and the others after it.
        let mut turn = (0, [0u32; 2]);
        let mut keyed = Vec::with_capacity(core.len());
        for (loss, group) in core {
            if turn.0 != loss {
                turn = (loss, [0; 2]);
            }
            let dearer = usize::from(self.all_moves(group).any(|change| change.cost > 0));
            turn.1[dearer] += 1;
            keyed.push((loss, turn.1[dearer], group));
        }
        keyed.sort_unstable();
        keyed.into_iter().map(|(loss, _, group)| (loss, group)).collect()
    }

    /// For every group between `at` and `end`, the best slopes of that group and those after it.
    fn slopes(&self, core: &[(i128, u32)], at: usize, end: usize, allowance: i128) -> Vec<Slopes> {
        let mut slopes = vec![Slopes { up: None, down: None }; end + 1];
        for place in (at..end).rev() {
            let Slopes { mut up, mut down } = slopes[place + 1];
            for Move { cost, gain, .. } in self.moves(core[place].1, allowance) {
                let (slope, best, wanted) = if cost > 0 {
                    ((gain, cost), &mut up, Ordering::Greater)
                } else {
                    ((-gain, -cost), &mut down, Ordering::Less)
                };
                if best.is_none_or(|best| compare_slopes(slope, best) == wanted) {
                    *best = Some(slope);
                }
            }
            slopes[place] = Slopes { up, down };
        }
        slopes
    }

    fn change(first: Change, found: Option<State>, nodes: &[Node]) -> Change {
        let Some(State { cost, gain, mut node }) = found else { return first };
        let mut picks = Vec::new();
        while let Some(Node { before, group, item }) = nodes.get(node as usize) {
            picks.push((*group, *item));
            node = *before;
        }
        Change { cost, gain, picks }
    }
}

/// Every state with every move and with none, as far as they are worth keeping; false if there are too many.
fn join(states: &[State], moves: &[Move], joined: &mut Vec<Candidate>, worth: impl Fn(&State) -> bool) -> bool {
    let none = Move { cost: 0, gain: 0, item: u32::MAX };
    for change in std::iter::once(&none).chain(moves) {
        for state in states {
            let state = State { cost: state.cost + change.cost, gain: state.gain + change.gain, ..*state };
            if worth(&state) {
                if joined.len() == MOST_STATES {
                    return false;
                }
                joined.push(Candidate { state, item: change.item });
            }
        }
    }
    true
}

/// Sorts by cost, and leaves the states that gain more than every cheaper one.
fn keep_undominated(joined: &mut Vec<Candidate>) {
    // A stable sort takes the runs that are in order already, one for each move, for what they are.
    joined.sort_by(|a, b| a.state.cost.cmp(&b.state.cost).then(b.state.gain.cmp(&a.state.gain)));
    let mut best = i64::MIN;
    joined.retain(|candidate| {
        let better = candidate.state.gain > best;
        best = best.max(candidate.state.gain);
        better
    });
}
