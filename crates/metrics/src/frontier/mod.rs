//! Quality against cost: the Pareto front, the area under it, and its hypervolume.

mod pareto;
mod point;

pub use pareto::{Between, Frontier};
pub use point::Point;
