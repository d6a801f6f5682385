//! The plot of the results.

use super::results::{Point, Results};
use crate::evidence::Metric;
use dynlayer::metrics::allocation::EnvelopePoint;
use dynlayer::metrics::plot::{Curve, CurvePlot};

impl Results {
    /// Returns a plot of quality against cost: the oracle's frontier and its baselines.
    pub fn plot(&self) -> CurvePlot {
        let results = self;
        let frontier =
            results.frontier.iter().map(|EnvelopePoint { mean_cost, mean_quality, .. }| (*mean_cost, *mean_quality));
        let curve = |name: &str, value: &dyn Fn(&Point) -> Option<(f64, f64)>| {
            Curve::new(name, results.curves.iter().filter_map(value).collect::<Vec<_>>())
        };
        let at = |value: fn(&Point) -> Option<f64>| move |point: &Point| Some((point.budget, value(point)?));
        // The name says so, since sampled outputs mostly score lower than greedy ones.
        let cross_fitted = match results.metric {
            Metric::RougeL | Metric::Exact => "cross-fitted oracle, of sampled outputs",
            Metric::Agreement | Metric::Nll => "cross-fitted oracle",
        };
        let curves = [
            Curve::new("oracle", frontier),
            curve(cross_fitted, &at(|point| point.cross_fitted)),
            curve("label-free oracle", &at(|point| point.label_free)),
            curve("null oracle", &at(|point| point.null_best)),
            curve("one candidate for all", &at(|point| point.one_for_all)),
            curve("the best mix of candidates", &at(|point| point.best_mix)),
            curve("prompt predictor", &|point| Some((point.router_cost?, point.router?))),
        ];
        CurvePlot {
            title: format!("The best candidate for each of {} prompts", results.items),
            x_label: results.cost.words().to_owned(),
            y_label: results.metric.words().to_owned(),
            curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        }
    }
}
