//! The largest quality for every budget.

use super::knapsack::{Step, hull};
use super::{Allocation, AllocationError, Allocator, Proof};
use serde::{Deserialize, Serialize};

/// A point of the envelope: no allocation of that mean cost or less has a larger mean quality.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EnvelopePoint {
    /// Mean cost per sequence, in the evidence's unit.
    pub mean_cost: f64,
    /// Mean quality per sequence.
    pub mean_quality: f64,
}

/// The quality that the envelope reaches within a budget, and an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BudgetBound {
    /// Index into [`Envelope::points`] of the last point within the budget.
    pub index: usize,
    /// The point itself, which an allocation reaches.
    pub point: EnvelopePoint,
    /// A mean quality that no allocation within the budget exceeds.
    pub bound: f64,
    /// Distance from the point's quality to the bound; 0 at the points themselves.
    pub gap: f64,
}

/// The upper concave envelope of all allocations: the largest mean quality for every mean budget.
///
/// Each point is an optimal allocation, and differs from the point before in the candidate of one sequence. The points
/// are those at which the linear relaxation (Sinha & Zoltners 1979) is itself an allocation. Between two points the
/// relaxation is an upper bound, and [`Allocator::most_quality`] finds the best allocation.
///
/// ```
/// use dynlayer_metrics::allocation::{Allocator, Evidence, Record};
///
/// let evidence = Evidence::new([
///     Record::new(0, "exit:2", 0.9, 2.0),
///     Record::new(0, "full", 1.0, 9.0),
///     Record::new(1, "exit:2", 0.1, 2.0),
///     Record::new(1, "full", 0.83, 8.0),
/// ])?;
/// let allocator = Allocator::new(&evidence)?;
/// let envelope = allocator.envelope();
/// let costs: Vec<f64> = envelope.points().iter().map(|point| point.mean_cost).collect();
/// assert_eq!(costs, [2.0, 5.0, 8.5]);
/// let found = envelope.at(6.0)?;
/// assert_eq!((found.point.mean_cost, found.index), (5.0, 1));
/// assert!(found.gap > 0.0 && found.gap < 0.02);
/// assert_eq!(envelope.allocation(1), allocator.most_quality(5.0)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    allocator: &'a Allocator<'a>,
    steps: Vec<Step>,
    points: Vec<EnvelopePoint>,
    /// The points' costs, in units of the instance.
    costs: Vec<i64>,
}

impl<'a> Allocator<'a> {
    /// Computes the envelope, which has the largest quality for every budget.
    pub fn envelope(&'a self) -> Envelope<'a> {
        Envelope::new(self)
    }
}

impl<'a> Envelope<'a> {
    fn new(allocator: &'a Allocator<'a>) -> Self {
        let scaled = &allocator.scaled;
        let steps = hull::steps(&scaled.instance);
        let (mut cost, mut gain) = (0, 0);
        let mut points = Vec::with_capacity(steps.len() + 1);
        let mut costs = Vec::with_capacity(steps.len() + 1);
        let changes = steps.iter().map(|step| (step.cost, step.gain));
        for change in std::iter::once((0, 0)).chain(changes) {
            (cost, gain) = (cost + change.0, gain + change.1);
            points.push(EnvelopePoint {
                mean_cost: scaled.mean_cost_of(cost),
                mean_quality: scaled.mean_quality_of(gain),
            });
            costs.push(cost);
        }
        Self { allocator, steps, points, costs }
    }

    /// The points, ascending in cost and quality: from the cheapest candidate of every sequence to the best one.
    pub fn points(&self) -> &[EnvelopePoint] {
        &self.points
    }

    /// Returns the last point within a mean budget, and an upper bound of the quality at that budget.
    ///
    /// # Errors
    /// [`AllocationError::Budget`] if the budget is below the first point,
    /// [`AllocationError::Number`] unless it is a finite number of at least 0.
    pub fn at(&self, budget: f64) -> Result<BudgetBound, AllocationError> {
        let room = self.allocator.capacity(budget)?;
        // The first point costs 0 units, and the room is not negative.
        let index = self.costs.partition_point(|cost| *cost <= room) - 1;
        let above = self.steps.get(index).map_or(0, |step| {
            (i128::from(room - self.costs[index]) * i128::from(step.gain)).div_euclid(i128::from(step.cost))
        });
        let point = self.points[index];
        let scaled = &self.allocator.scaled;
        let above = above * i128::from(scaled.instance.gain_unit);
        Ok(BudgetBound {
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
