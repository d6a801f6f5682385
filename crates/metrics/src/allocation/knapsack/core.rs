//! Dynamic programming over the few groups whose best item the relaxation leaves open.

use super::hull::compare_slopes;
use super::{Change, Instance};
use std::cmp::Ordering;

/// Largest number of states that are compared at once. Each takes 32 bytes.
const MOST_STATES: usize = 1 << 21;
/// Largest number of decisions that are stored. Each takes 12 bytes.
const MOST_NODES: usize = 1 << 23;
/// Number of states that a thinned search keeps.
const THINNED: usize = 1 << 13;
/// The node index of the initial state, which no decision led to.
const ROOT: u32 = u32::MAX;

/// The search for a choice that is better than the *base*, which is the choice of the relaxation.
///
/// With a price of `p / r` per unit of cost, an item has the worth `r gain - p cost`. Its *loss* is the largest worth
/// in the group, which is that of the base's item, minus its own worth. Losses add up, and a choice of loss `l` and
/// cost `c` gains `(p c - l) / r` over the base. So the loss of a choice that beats a known solution within the
/// capacity is at most an *allowance*. Items of larger loss are left out, and a group in which only the base's item
/// remains is decided (the reduction of Kellerer, Pferschy & Pisinger 2004, section 11.4).
///
/// The other groups are the core. They are joined one by one, least loss first, by dynamic programming over undominated
/// pairs of cost and gain, each tested against an upper bound (Pisinger 1995, "A minimal algorithm for the
/// multiple-choice knapsack problem"). Whenever a better solution is found, the allowance and the core shrink.
pub(super) struct Core<'a> {
    instance: &'a Instance,
    base: &'a [u32],
    price: (i64, i64),
    /// Capacity that the base leaves.
    room: i64,
}

/// The best choice found, relative to the base.
pub(super) struct Outcome {
    pub change: Change,
    /// A gain that no choice within the capacity exceeds.
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

/// A state that has not been compared with the others yet.
#[derive(Clone, Copy)]
struct Candidate {
    state: State,
    /// The item of the group that was joined last; `u32::MAX` for the base's item.
    item: u32,
}

/// A decision on the way to a state.
struct Node {
    /// Index of the previous decision.
    before: u32,
    group: u32,
    item: u32,
}

/// A change of one group from the base's item to another, with the differences in cost and gain.
#[derive(Clone, Copy)]
struct Move {
    cost: i64,
    gain: i64,
    item: u32,
}

/// The best slopes, as gain and cost, of the moves to more expensive and to cheaper items of some groups.
#[derive(Clone, Copy)]
struct Slopes {
    up: Option<(i64, i64)>,
    down: Option<(i64, i64)>,
}

impl Slopes {
    /// Returns true if a state may still reach `gain` at a cost of at most `cost`.
    fn reach(&self, state: &State, gain: i64, cost: i64) -> bool {
        let more = i128::from(cost) - i128::from(state.cost);
        let missing = i128::from(gain) - i128::from(state.gain);
        match if more >= 0 { self.up } else { self.down } {
            Some((p, r)) => i128::from(r) * missing <= i128::from(p) * more,
            None => more >= 0 && missing <= 0,
        }
    }

    /// The largest gain that a state may reach at a cost of at most `cost`; `None` if it cannot come down to that cost.
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

    /// Improves on a first solution until no better one exists, or about `limit` states have been examined.
    ///
    /// A short search solves all but the hardest instances. For those, a search that keeps only some of the states
    /// usually finds a solution that equals the bound, which proves it. Otherwise a long search uses the rest of the
    /// limit.
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
        // A negative allowance proves the solution even if the search was not complete.
        let optimal = allowance < 0 || (bound.is_none() && !thinned);
        let bound = match bound {
            _ if optimal => best.gain,
            Some(bound) if !thinned => bound.unwrap_or(best.gain).max(best.gain),
            _ => self.relaxed().max(best.gain),
        };
        Outcome { change: Self::change(first, found, &nodes), bound, optimal, work }
    }

    /// Keeps [`THINNED`] of the states, evenly spread in order of cost. They are taken from those whose cost is close
    /// to the room if there are enough, otherwise from all.
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

    /// The largest loss that a choice within the room can have if it gains more than the best one, or as much at less
    /// cost.
    fn allowance(&self, best: &Best) -> i128 {
        let (p, r) = (i128::from(self.price.0), i128::from(self.price.1));
        let (gain, cost) = (i128::from(best.gain), i128::from(best.cost));
        let better = p * i128::from(self.room) - r * (gain + 1);
        let cheaper = p * (cost - 1) - r * gain;
        better.max(cheaper)
    }

    /// The relaxation's bound of the gain over the base.
    fn relaxed(&self) -> i64 {
        let (p, r) = (i128::from(self.price.0), i128::from(self.price.1));
        i64::try_from((p * i128::from(self.room)).div_euclid(r)).unwrap_or(i64::MAX)
    }

    fn loss(&self, gain: i64, cost: i64) -> i128 {
        i128::from(self.price.0) * i128::from(cost) - i128::from(self.price.1) * i128::from(gain)
    }

    /// The moves of a group that a better choice may contain.
    fn moves(&self, group: u32, allowance: i128) -> Vec<Move> {
        self.all_moves(group).filter(|change| self.loss(change.gain, change.cost) <= allowance).collect()
    }

    /// The moves to all items of a group except the base's.
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

    /// The groups that a better choice may change, each with the least loss of a move, ascending.
    fn groups(&self, allowance: i128) -> Vec<(i128, u32)> {
        let least = |group| self.all_moves(group).map(|change| self.loss(change.gain, change.cost)).min();
        let groups = (0u32..).take(self.base.len());
        let groups = groups.filter_map(|group| least(group).map(|loss| (loss, group)));
        let mut core: Vec<(i128, u32)> = groups.filter(|(loss, _)| *loss <= allowance).collect();
        core.sort_unstable();
        // Among equal losses, groups that can become more expensive alternate with those that cannot, since filling the
        // room takes both kinds. In the order of their numbers one kind would come first, because the relaxation takes
        // steps of equal slope in that order until the room is spent.
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

    /// For every group from `at` to `end`, the best slopes of that group and the groups after it.
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

    /// The decisions that lead to the state found, or the first solution if none was found.
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

/// Fills `joined` with every state, both unchanged and after each of the moves, as far as they are worth keeping.
/// Returns false if there are too many.
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

/// Sorts by cost, and keeps the states that gain more than every cheaper one.
fn keep_undominated(joined: &mut Vec<Candidate>) {
    // A stable sort exploits the runs that are sorted already, one for each move.
    joined.sort_by(|a, b| a.state.cost.cmp(&b.state.cost).then(b.state.gain.cmp(&a.state.gain)));
    let mut best = i64::MIN;
    joined.retain(|candidate| {
        let better = candidate.state.gain > best;
        best = best.max(candidate.state.gain);
        better
    });
}
