//! The output files: tables and the plot.

use crate::arguments::Arguments;
use crate::folder::remove;
use crate::results::{Point, Results};
use dynlayer::metrics::allocation::{EnvelopePoint, Evidence};
use dynlayer::metrics::output::write_csv;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::model::format::write_atomic;
use dynlayer_examples::data::Line;
use dynlayer_examples::evidence::Metric;
use serde::Serialize;
use std::error::Error;
use std::path::Path;

/// The candidate that was chosen for an item.
#[derive(Serialize)]
struct Chosen<'a> {
    sequence: u64,
    id: &'a str,
    candidate: &'a str,
    quality: f64,
    cost: f64,
}

/// Writes all files except `run.jsonl`, and removes those that an earlier run has left and this one does not have.
pub fn write(
    arguments: &Arguments,
    lines: &[Line],
    evidence: &Evidence,
    null: Option<&Evidence>,
    results: &Results,
    summary: &str,
) -> Result<(), Box<dyn Error>> {
    let file = |name: &str| arguments.out.join(name);
    evidence.write_jsonl(file("evidence.jsonl"))?;
    match null {
        Some(null) => null.write_jsonl(file("null.jsonl"))?,
        None => remove(&file("null.jsonl"))?,
    }
    csv(&file("frontier.csv"), &results.frontier)?;
    csv(&file("curves.csv"), &results.curves)?;
    csv(&file("candidates.csv"), &results.statics)?;
    let choices = results.allocation.choices.iter().enumerate();
    let chosen = choices.filter_map(|(index, choice)| {
        let (sequence, cell) = (evidence.sequences()[index], evidence.cell(index, *choice)?);
        let id = lines.get(index).map_or("", |line| line.id.as_str());
        let candidate = &evidence.candidates()[*choice];
        Some(Chosen { sequence, id, candidate, quality: cell.quality, cost: cell.cost })
    });
    csv(&file("allocation.csv"), chosen.collect::<Vec<_>>())?;
    save(&file("controls.json"), &serde_json::to_vec_pretty(&results.baselines)?)?;
    match &results.predictor {
        Some(predictor) => save(&file("router.json"), &serde_json::to_vec(predictor)?)?,
        None => remove(&file("router.json"))?,
    }
    let plot = plot(results);
    save(&file("frontier.svg"), plot.svg(Size::default())?.as_bytes())?;
    save(&file("frontier.png"), &plot.png(Size::default())?)?;
    save(&file("summary.txt"), summary.as_bytes())
}

fn csv<T: Serialize>(file: &Path, rows: impl IntoIterator<Item = T>) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    write_csv(&mut bytes, rows)?;
    save(file, &bytes)
}

fn save(file: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    Ok(write_atomic(file, bytes).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Returns a plot of quality against cost: the oracle's frontier and its baselines.
fn plot(results: &Results) -> CurvePlot {
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
