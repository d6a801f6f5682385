//! The null oracle: what choosing the best of many gains even among random routes.

use super::ControlsError;
use super::fixed::mean;
use crate::oracle::Evidence;
use crate::oracle::numbers::count;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Random routes of one depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NullDepth {
    /// What each of the routes costs.
    pub cost: f64,
    /// How many there are.
    pub routes: usize,
    /// The mean over sequences of the best route's quality.
    pub mean_of_best: f64,
    /// The mean over sequences and routes.
    pub mean: f64,
}

/// Per depth, and per sequence of the evidence, the best and the mean quality.
pub(super) struct Null {
    depths: Vec<Depth>,
}

struct Depth {
    cost: f64,
    routes: usize,
    best: Vec<f64>,
    mean: Vec<f64>,
}

impl Null {
    /// Groups the routes by what they cost.
    pub fn new(routes: &Evidence, evidence: &Evidence) -> Result<Self, ControlsError> {
        let order = order(routes, evidence)?;
        let needed = evidence.candidates().len();
        let refuse = |expected: String, found: String| Err(ControlsError::Null { expected, found });
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
                (best, sum / count(chosen.len()))
            });
            let (best, mean) = per_sequence.unzip();
            Depth { cost, routes: chosen.len(), best, mean }
        });
        Ok(Self { depths: depths.collect() })
    }

    pub fn depths(&self) -> Vec<NullDepth> {
        let ones = vec![1.0; self.depths.first().map_or(0, |depth| depth.best.len())];
        let summary = |depth: &Depth| NullDepth {
            cost: depth.cost,
            routes: depth.routes,
            mean_of_best: mean(&depth.best, &ones),
            mean: mean(&depth.mean, &ones),
        };
        self.depths.iter().map(summary).collect()
    }

    /// Cost, and per sequence the best and the mean, if the two depths around the budget are dealt out at random so
    /// that the budget is met; above the deepest one that depth. `None` below the least.
    pub fn at(&self, budget: f64) -> Option<(f64, Vec<f64>, Vec<f64>)> {
        let above = self.depths.partition_point(|depth| depth.cost <= budget * (1.0 + 1e-9));
        let below = self.depths.get(above.checked_sub(1)?)?;
        let Some(next) = self.depths.get(above) else {
            return Some((below.cost, below.best.clone(), below.mean.clone()));
        };
        let share = ((budget - below.cost) / (next.cost - below.cost)).max(0.0);
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect();
        Some((
            below.cost + share * (next.cost - below.cost),
            mix(&below.best, &next.best),
            mix(&below.mean, &next.mean),
        ))
    }
}

fn equal(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.max(b)
}

/// The routes' index of every sequence of the evidence.
fn order(routes: &Evidence, evidence: &Evidence) -> Result<Vec<usize>, ControlsError> {
    let places: HashMap<u64, usize> = routes.sequences().iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let sequences = evidence.sequences();
    let refuse =
        |found| Err(ControlsError::Sequences { of: "random routes".to_owned(), sequences: sequences.len(), found });
    let Some(order) = sequences.iter().map(|id| places.get(id).copied()).collect::<Option<Vec<_>>>() else {
        let missing = sequences.iter().find(|id| !places.contains_key(id)).copied().unwrap_or_default();
        return refuse(format!("found none with id {missing}"));
    };
    if places.len() == order.len() { Ok(order) } else { refuse(format!("found {} sequences", places.len())) }
}
