//! The output files: tables and the plot.

use crate::arguments::Arguments;
use crate::folder::remove;
use dynlayer::metrics::allocation::Evidence;
use dynlayer::metrics::output::write_csv;
use dynlayer::metrics::plot::Size;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::data::Line;
use dynlayer_examples::oracle_report::Results;
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
    let plot = results.plot();
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
