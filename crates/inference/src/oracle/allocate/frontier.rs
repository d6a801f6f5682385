//! All budgets at once.

use super::hull::{Step, steps};
use super::{Allocation, AllocationError, Allocator, Proof};
use serde::{Deserialize, Serialize};

/// A point of the frontier: no allocation of that mean cost or less has a larger mean quality.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrontierPoint {
    /// Mean cost of a sequence, in the evidence's measure.
    pub mean_cost: f64,
    /// Mean quality of a sequence.
    pub mean_quality: f64,
}

/// What the frontier knows of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FrontierAnswer {
    /// The last point within the budget, as an index into [`Frontier::points`].
    pub index: usize,
    /// That point, which an allocation reaches.
    pub point: FrontierPoint,
    /// No allocation within the budget has a larger mean quality.
    pub bound: f64,
    /// How far the bound is above the point; 0 at the points themselves.
    pub gap: f64,
}

/// The quality that can be had for every budget.
///
/// Its points are the corners of the upper concave envelope of all allocations, and those on its edges that one more
/// changed sequence reaches: the prefixes of the steps of the linear relaxation (Sinha & Zoltners 1979), which are
/// allocations and optimal, as the relaxation itself is no better there. Between two points the relaxation bounds what
/// an allocation can reach; [`Allocator::most_quality`] finds it.
///
/// ```
/// use dynlayer_inference::oracle::{Allocator, Evidence, Record};
///
/// let evidence = Evidence::new([
///     Record::new(0, "exit:2", 0.9, 2.0),
///     Record::new(0, "full", 1.0, 9.0),
///     Record::new(1, "exit:2", 0.1, 2.0),
///     Record::new(1, "full", 0.83, 8.0),
/// ])?;
/// let allocator = Allocator::new(&evidence)?;
/// let frontier = allocator.frontier();
/// let costs: Vec<f64> = frontier.points().iter().map(|point| point.mean_cost).collect();
/// assert_eq!(costs, [2.0, 5.0, 8.5]);
/// let answer = frontier.at(6.0)?;
/// assert_eq!((answer.point.mean_cost, answer.index), (5.0, 1));
/// assert!(answer.gap > 0.0 && answer.gap < 0.02);
/// assert_eq!(frontier.allocation(1), allocator.most_quality(5.0)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frontier<'a> {
    allocator: &'a Allocator<'a>,
    steps: Vec<Step>,
    points: Vec<FrontierPoint>,
    /// What every point costs, in units of the instance.
    costs: Vec<i64>,
}

impl<'a> Frontier<'a> {
    pub(super) fn new(allocator: &'a Allocator<'a>) -> Self {
        let scaled = &allocator.scaled;
        let steps = steps(&scaled.instance);
        let (mut cost, mut gain) = (0, 0);
        let mut points = Vec::with_capacity(steps.len() + 1);
        let mut costs = Vec::with_capacity(steps.len() + 1);
        let changes = steps.iter().map(|step| (step.cost, step.gain));
        for change in std::iter::once((0, 0)).chain(changes) {
            (cost, gain) = (cost + change.0, gain + change.1);
            points.push(FrontierPoint {
                mean_cost: scaled.mean_cost_of(cost),
                mean_quality: scaled.mean_quality_of(gain),
            });
            costs.push(cost);
        }
        Self { allocator, steps, points, costs }
    }

    /// The points, ascending in cost and quality: from the cheapest candidate of every sequence to the best one.
    pub fn points(&self) -> &[FrontierPoint] {
        &self.points
    }

    /// What is known of a mean budget.
    ///
    /// # Errors
    /// [`AllocationError::Budget`] if the budget is below the first point,
    /// [`AllocationError::Number`] if it is no finite number of at least 0.
    pub fn at(&self, budget: f64) -> Result<FrontierAnswer, AllocationError> {
        let room = self.allocator.capacity(budget)?;
        // The first point costs 0 units, and the room is not negative.
        let index = self.costs.partition_point(|cost| *cost <= room) - 1;
        let above = self.steps.get(index).map_or(0, |step| {
            (i128::from(room - self.costs[index]) * i128::from(step.gain)).div_euclid(i128::from(step.cost))
        });
        let point = self.points[index];
        let scaled = &self.allocator.scaled;
        let above = above * i128::from(scaled.instance.gain_unit);
        Ok(FrontierAnswer {
            index,
            point,
            bound: point.mean_quality + scaled.mean_quality(above),
            gap: scaled.mean_quality(above),
        })
    }

    /// The allocation that reaches a point.
    ///
    /// # Panics
    /// If there is no point of that index.
    pub fn allocation(&self, index: usize) -> Allocation {
        let mut picks = vec![0; self.allocator.scaled.len()];
        for step in &self.steps[..index] {
            picks[step.group as usize] = step.to;
        }
        self.allocator.allocation(&picks, Proof::Optimal, 0)
    }
}
