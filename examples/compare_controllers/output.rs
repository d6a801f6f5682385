//! The table and the plots.

use crate::arguments::Arguments;
use crate::compare::{ALWAYS, Row};
use dynlayer::inference::ScoreItem;
use dynlayer::metrics::output::write_csv;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::io::Write;

#[derive(Serialize)]
struct Document<'a> {
    control_from: String,
    kv_policy: String,
    items: usize,
    prompt_tokens: usize,
    tokens: usize,
    n_layers: usize,
    controllers: &'a [Row],
}

/// Prints the table, and writes the files if a folder was given.
pub fn write(arguments: &Arguments, items: &[ScoreItem], n_layers: usize, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &arguments.out {
        let mut csv = Vec::new();
        write_csv(&mut csv, rows)?;
        fs::write(folder.join("comparison.csv"), csv)?;
        for (name, label, value) in MEASURES {
            let plot = plot(label, rows, *value);
            fs::write(folder.join(format!("{name}.svg")), plot.svg(Size::default())?)?;
            fs::write(folder.join(format!("{name}.png")), plot.png(Size::default())?)?;
        }
    }
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let document = Document {
            control_from: arguments.control_from.to_string(),
            kv_policy: arguments.kv_policy.to_string(),
            items: items.len(),
            prompt_tokens: arguments.prompt_tokens,
            tokens: arguments.tokens,
            n_layers,
            controllers: rows,
        };
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{} items of {} + {} tokens, control from {}, KV policy {}, {n_layers} layers",
        items.len(),
        arguments.prompt_tokens,
        arguments.tokens,
        arguments.control_from,
        arguments.kv_policy
    )?;
    let widest = rows.iter().map(|row| row.controller.len()).max().unwrap_or(0);
    writeln!(out, "{:widest$}  layers  FLOPs   cosine  KL (nats)  top-1   NLL (nats)", "controller")?;
    for row in rows {
        writeln!(
            out,
            "{:widest$}  {:6.2}  {:.3}  {:7.4}  {:9.4}  {:.3}  {:9.4}",
            row.controller, row.layers, row.flops_fraction, row.cosine, row.kl, row.top1, row.nll
        )?;
    }
    Ok(())
}

type Measure = (&'static str, &'static str, fn(&Row) -> f64);

const MEASURES: &[Measure] = &[
    ("cosine", "cosine of the final state with the full model's", |row| row.cosine),
    ("kl", "KL divergence from the full model, nats", |row| row.kl),
    ("top1", "share of tokens with the full model's first choice", |row| row.top1),
    ("nll", "negative log-likelihood, nats per token", |row| row.nll),
];

/// Returns a plot with a curve per family of controllers; the curves over budgets begin at the full model.
fn plot(label: &str, rows: &[Row], value: fn(&Row) -> f64) -> CurvePlot {
    let family = |row: &Row| row.controller.split(':').next().unwrap_or_default().to_owned();
    let mut families: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    for row in rows.iter().skip(1) {
        if !families.contains(&family(row)) {
            families.push(family(row));
        }
    }
    let curve = |name: String| {
        let mut points: Vec<(f64, f64)> = rows
            .iter()
            .enumerate()
            .filter(|(i, row)| family(row) == name || (*i == 0 && ALWAYS.contains(&name.as_str())))
            .map(|(_, row)| (row.layers, value(row)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve::new(name, points)
    };
    CurvePlot {
        title: "Against the full model, by layers per token".into(),
        x_label: "layers per token".into(),
        y_label: label.into(),
        curves: families.into_iter().map(curve).filter(|curve| !curve.points.is_empty()).collect(),
    }
}
