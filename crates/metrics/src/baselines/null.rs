//! The null oracle: the gain of choosing the best of many random routes.

use super::ComparisonError;
use crate::allocation::Evidence;
use crate::numbers::{ToF64, mean};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The random routes of one depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NullDepth {
    /// Cost of each of the routes.
    pub cost: f64,
    /// Number of routes.
    pub routes: usize,
    /// Mean over sequences of the best route's quality.
    pub mean_of_best: f64,
    /// Mean quality over sequences and routes.
    pub mean: f64,
}

/// The random routes of all depths, shallowest first.
pub(super) struct Null {
    depths: Vec<Depth>,
}

struct Depth {
    cost: f64,
    routes: usize,
    /// Best quality of each sequence of the evidence.
    best: Vec<f64>,
    /// Mean quality of each sequence of the evidence.
    mean: Vec<f64>,
}

/// Random routes at a budget: their mean cost, and for each sequence the best and the mean quality.
pub(super) struct NullAt {
    pub cost: f64,
    pub best: Vec<f64>,
    pub mean: Vec<f64>,
}

impl Null {
    /// Groups the routes by their cost.
    pub fn new(routes: &Evidence, evidence: &Evidence) -> Result<Self, ComparisonError> {
        let order = order(routes, evidence)?;
        let needed = evidence.candidates().len();
        let refuse = |expected: String, found: String| Err(ComparisonError::Null { expected, found });
        let mut by_cost: Vec<(f64, Vec<usize>)> = Vec::new();
        for (route, name) in routes.candidates().iter().enumerate() {
            let mut cost = None;
            for (sequence, id) in routes.sequences().iter().enumerate() {
                let Some(cell) = routes.cell(sequence, route) else {
                    return refuse(format!("route {name:?} for every sequence"), format!("none for sequence {id}"));
                };
                let first = *cost.get_or_insert(cell.cost);
                if !equal(first, cell.cost) {
                    let expected = format!("route {name:?} to cost the same for every sequence");
                    return refuse(expected, format!("{first} and, for sequence {id}, {}", cell.cost));
                }
            }
            let cost = cost.unwrap_or_default();
            match by_cost.iter_mut().find(|depth| equal(depth.0, cost)) {
                Some(depth) => depth.1.push(route),
                None => by_cost.push((cost, vec![route])),
            }
        }
        by_cost.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((cost, routes)) = by_cost.iter().find(|depth| depth.1.len() != needed) {
            let expected = format!("as many of each depth as there are candidates, {needed}");
            return refuse(expected, format!("{} of cost {cost}", routes.len()));
        }
        let depths = by_cost.into_iter().map(|(cost, chosen)| {
            let per_sequence = order.iter().map(|sequence| {
                let qualities =
                    chosen.iter().filter_map(|route| routes.cell(*sequence, *route)).map(|cell| cell.quality);
                let (best, sum) = qualities.fold((f64::NEG_INFINITY, 0.0), |(best, sum), q| (q.max(best), sum + q));
                (best, sum / chosen.len().to_f64())
            });
            let (best, mean) = per_sequence.unzip();
            Depth { cost, routes: chosen.len(), best, mean }
        });
        Ok(Self { depths: depths.collect() })
    }

    /// Returns the means of every depth.
    pub fn depths(&self) -> Vec<NullDepth> {
        let summary = |depth: &Depth| NullDepth {
            cost: depth.cost,
            routes: depth.routes,
            mean_of_best: mean(&depth.best),
            mean: mean(&depth.mean),
        };
        self.depths.iter().map(summary).collect()
    }

    /// Returns the routes at a budget: a mix of the nearest depths below and above it whose mean cost is the budget, or
    /// the deepest routes if none costs more. `None` if all routes cost more.
    pub fn at(&self, budget: f64) -> Option<NullAt> {
        let above = self.depths.partition_point(|depth| depth.cost <= budget * (1.0 + 1e-9));
        let below = self.depths.get(above.checked_sub(1)?)?;
        let Some(next) = self.depths.get(above) else {
            return Some(NullAt { cost: below.cost, best: below.best.clone(), mean: below.mean.clone() });
        };
        let share = ((budget - below.cost) / (next.cost - below.cost)).max(0.0);
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect();
        Some(NullAt {
            cost: below.cost + share * (next.cost - below.cost),
            best: mix(&below.best, &next.best),
            mean: mix(&below.mean, &next.mean),
        })
    }
}

/// Returns true if two costs are equal up to rounding.
fn equal(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.max(b)
}

/// Returns, for every sequence of the evidence, its index among the sequences of the routes.
fn order(routes: &Evidence, evidence: &Evidence) -> Result<Vec<usize>, ComparisonError> {
    let places: HashMap<u64, usize> = routes.sequences().iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let sequences = evidence.sequences();
    let refuse =
        |found| Err(ComparisonError::Sequences { name: "random routes".to_owned(), sequences: sequences.len(), found });
    let Some(order) = sequences.iter().map(|id| places.get(id).copied()).collect::<Option<Vec<_>>>() else {
        let missing = sequences.iter().find(|id| !places.contains_key(id)).copied().unwrap_or_default();
        return refuse(format!("found none with id {missing}"));
    };
    if places.len() == order.len() { Ok(order) } else { refuse(format!("found {} sequences", places.len())) }
}
