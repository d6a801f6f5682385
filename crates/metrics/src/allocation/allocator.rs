//! The exact choice of one candidate per sequence.

use super::knapsack::{Instance, Solution, hull, solve};
use super::scaled::{QUALITY_UNIT, Scaled};
use super::{Allocation, AllocationError, Column, Evidence, Proof};
use crate::numbers::{ToF64, ceil, floor};

/// The relative excess over a budget that is allowed, since sums are rounded.
const BUDGET_TOLERANCE: f64 = 1e-9;
/// Default number of states that a proof may take, which is five to ten seconds on one core.
const WORK_LIMIT: u64 = 100_000_000;

/// Computes the best allocations of a table; [`Allocation`] has an example.
///
/// The problem is the multiple-choice knapsack (Kellerer, Pferschy & Pisinger 2004, chapter 11), solved exactly in
/// whole numbers:
/// - Each quality is rounded to a multiple of 1e-9.
/// - Costs are counted in a common unit (1, 0.5, 0.001, ..) if all of them are multiples of one within a relative 1e-9.
///   Otherwise, as with FLOPs or seconds, they are rounded to a power of two of at most 2^-59 of the cost of the most
///   expensive allocation. The rounding is exact if this unit is finer than the last digit of every cost.
/// - A budget may be exceeded by a relative 1e-9, and a wanted quality missed by 1e-9.
///
/// Dominated candidates are never chosen. Among allocations of equal quality the cheapest is returned, and among those
/// of equal cost the best.
///
/// The linear relaxation (Sinha & Zoltners 1979) gives a bound and all but a few of the choices; dynamic programming
/// over a growing core (Pisinger 1995) finds the rest. On some instances, such as subset sums of large numbers, this
/// takes too long. The search therefore stops after [`work_limit`](Self::work_limit) states, or before it needs more
/// than about 300 MB, and [`Proof`] then holds a proven bound.
#[derive(Clone, Debug)]
pub struct Allocator<'a> {
    evidence: &'a Evidence,
    column: Column,
    pub(super) scaled: Scaled,
    work_limit: u64,
}

/// A change of one sequence from a candidate to a more expensive and better one. All fields are indices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade {
    pub sequence: usize,
    pub from: usize,
    pub to: usize,
}

impl<'a> Allocator<'a> {
    /// An allocator that chooses by [`Column::Quality`].
    ///
    /// # Errors
    /// [`AllocationError::TooLarge`] if the numbers cannot be added up exactly: qualities may reach 1.1e9 in total.
    pub fn new(evidence: &'a Evidence) -> Result<Self, AllocationError> {
        Self::by(evidence, Column::Quality)
    }

    /// An allocator that chooses by the quality in a column.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`AllocationError::Column`] if the evidence has no such column.
    pub fn by(evidence: &'a Evidence, column: Column) -> Result<Self, AllocationError> {
        Ok(Self { evidence, column, scaled: Scaled::new(evidence, column)?, work_limit: WORK_LIMIT })
    }

    /// Sets the number of states that a proof may take. The default of 100 million takes five to ten seconds; at 0 the
    /// result is that of the linear relaxation, completed greedily, with a proven bound.
    pub fn work_limit(mut self, states: u64) -> Self {
        self.work_limit = states;
        self
    }

    /// The evidence that the allocator chooses from.
    pub fn evidence(&self) -> &'a Evidence {
        self.evidence
    }

    /// Size of the unit in which the allocator counts costs, in the evidence's measure of cost.
    pub fn cost_unit(&self) -> f64 {
        self.scaled.unit
    }

    /// Returns the allocation of highest quality whose mean cost is within `budget`; among equals, the cheapest.
    ///
    /// # Errors
    /// [`AllocationError::Budget`], which names the smallest feasible budget, or [`AllocationError::Number`] unless the
    /// budget is a finite number of at least 0.
    pub fn most_quality(&self, budget: f64) -> Result<Allocation, AllocationError> {
        let scaled = &self.scaled;
        let room = self.capacity(budget)?;
        let solution = solve(&scaled.instance, room, self.work_limit);
        let proof = proof(
            &solution,
            scaled.mean_quality_of(solution.bound),
            |scale| scaled.mean_quality(scale),
            scaled.instance.gain_unit,
        );
        Ok(self.allocation(&solution.picks, proof, solution.work))
    }

    /// Returns the cheapest allocation whose mean quality is at least `quality`; among equals, the best.
    ///
    /// To match a single candidate used for all sequences, pass its quality from [`Evidence::static_means`].
    ///
    /// # Errors
    /// [`AllocationError::Quality`], which names the largest reachable quality, or [`AllocationError::Number`] if the
    /// wanted quality is not finite.
    pub fn least_cost(&self, quality: f64) -> Result<Allocation, AllocationError> {
        if !quality.is_finite() {
            let (name, expected) = ("the wanted quality", "a finite number");
            return Err(AllocationError::Number { name, expected, found: quality });
        }
        let Scaled { instance, base_quality, .. } = &self.scaled;
        let (most_cost, most_gain) = instance.largest();
        let n = self.scaled.len().to_f64();
        let wanted = quality / QUALITY_UNIT * n;
        // Each quality was rounded by up to half a unit, and the product has a relative error.
        let wanted = ceil(wanted - n - wanted.abs() * 1e-15) - i128::from(*base_quality);
        let unit = i128::from(instance.gain_unit);
        let wanted = (wanted + unit - 1).div_euclid(unit).max(0);
        let spare = i128::from(most_gain) - wanted;
        let Some(spare) = i64::try_from(spare).ok().filter(|spare| *spare >= 0) else {
            return Err(AllocationError::Quality { wanted: quality, largest: self.scaled.mean_quality_of(most_gain) });
        };
        let swapped: Instance = instance.swapped();
        let mut solution = solve(&swapped, spare, self.work_limit);
        for (group, pick) in solution.picks.iter_mut().enumerate() {
            *pick = u32::try_from(instance.group(group).len()).unwrap_or(u32::MAX) - 1 - *pick;
        }
        let bound = self.scaled.mean_cost_of(most_cost - solution.bound);
        let proof = proof(&solution, bound, |scale| self.scaled.mean_cost(scale), instance.cost_unit);
        Ok(self.allocation(&solution.picks, proof, solution.work))
    }

    /// The part of a mean budget that every sequence's cheapest candidate leaves, in units of the instance.
    pub(super) fn capacity(&self, budget: f64) -> Result<i64, AllocationError> {
        if !(budget.is_finite() && budget >= 0.0) {
            let expected = "a finite number of at least 0";
            return Err(AllocationError::Number { name: "the budget", expected, found: budget });
        }
        let scaled = &self.scaled;
        let units = floor(budget * (1.0 + BUDGET_TOLERANCE) * scaled.len().to_f64() / scaled.unit);
        let room = units - i128::from(scaled.base_cost);
        if room < 0 {
            let smallest = scaled.mean_cost_of(0);
            return Err(AllocationError::Budget { budget, smallest });
        }
        Ok(i64::try_from(room / i128::from(scaled.instance.cost_unit)).unwrap_or(i64::MAX / 2))
    }

    /// Returns the linear relaxation: every sequence's cheapest candidate, and the upgrades from there, in order of
    /// falling gain per cost.
    pub(crate) fn relaxation(&self) -> (Vec<usize>, Vec<Upgrade>) {
        let instance = &self.scaled.instance;
        let candidate = |group: usize, item: u32| instance.group(group)[item as usize].candidate as usize;
        let upgrades = hull::steps(instance).into_iter().map(|step| {
            let sequence = step.group as usize;
            Upgrade { sequence, from: candidate(sequence, step.from), to: candidate(sequence, step.to) }
        });
        ((0..instance.len()).map(|group| candidate(group, 0)).collect(), upgrades.collect())
    }

    /// The allocation that picks these items of the instance, one per sequence.
    pub(super) fn allocation(&self, picks: &[u32], proof: Proof, work: u64) -> Allocation {
        let instance = &self.scaled.instance;
        let choices: Vec<usize> = picks
            .iter()
            .enumerate()
            .map(|(group, pick)| instance.group(group)[*pick as usize].candidate as usize)
            .collect();
        let column = self.column;
        let (mean_cost, mean_quality) =
            Allocation::means(self.evidence, &choices, |cell| cell.value(column).unwrap_or_default());
        Allocation { choices, mean_cost, mean_quality, proof, work }
    }
}

fn proof(solution: &Solution, bound: f64, mean: impl Fn(i128) -> f64, unit: i64) -> Proof {
    if solution.optimal {
        return Proof::Optimal;
    }
    let gap = i128::from(solution.bound - solution.gain) * i128::from(unit);
    Proof::Gap { bound, gap: mean(gap) }
}
