//! The table and the plots.

use crate::arguments::Arguments;
use dynlayer::inference::ScoreItem;
use dynlayer::metrics::output::write_csv;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::model::format::write_atomic;
use dynlayer_examples::comparison::{FAMILIES, Row};
use dynlayer_examples::output::check_files;
use dynlayer_examples::{Lengths, described};
use serde::Serialize;
use std::error::Error;
use std::io::Write;
use std::path::Path;

/// The name of the table's file.
const TABLE: &str = "comparison.csv";

#[derive(Serialize)]
struct Document<'a> {
    control_from: String,
    kv_policy: String,
    /// `true` if prompts and calibration texts begin with a special token that the tokenizer adds.
    bos: bool,
    items: usize,
    /// The lengths of the items' prompts.
    prompt_tokens: Lengths,
    /// The lengths of the items' continuations.
    tokens: Lengths,
    n_layers: usize,
    controllers: &'a [Row],
}

/// Tries whether the files can be written, before the work.
pub fn check(folder: &Path, overwrite: bool) -> Result<(), String> {
    let images = MEASURES.iter().flat_map(|(name, ..)| [format!("{name}.svg"), format!("{name}.png")]);
    let files: Vec<String> = images.chain([TABLE.to_owned()]).collect();
    check_files(folder, &files, overwrite)
}

/// Prints the table, and writes the files if a folder was given.
pub fn write(
    arguments: &Arguments,
    items: &[ScoreItem],
    bos: bool,
    n_layers: usize,
    rows: &[Row],
) -> Result<(), Box<dyn Error>> {
    let printed = print(arguments, items, bos, n_layers, rows);
    // The files are written even if nobody reads the table.
    if let Some(folder) = &arguments.out {
        save(folder, rows)?;
    }
    Ok(printed?)
}

fn save(folder: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let save = |name: String, bytes: &[u8]| {
        let file = folder.join(name);
        write_atomic(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    };
    let mut csv = Vec::new();
    write_csv(&mut csv, rows)?;
    save(TABLE.to_owned(), &csv)?;
    for (name, label, value) in MEASURES {
        let plot = plot(label, rows, *value);
        save(format!("{name}.svg"), plot.svg(Size::default())?.as_bytes())?;
        save(format!("{name}.png"), &plot.png(Size::default())?)?;
    }
    Ok(())
}

fn print(arguments: &Arguments, items: &[ScoreItem], bos: bool, n_layers: usize, rows: &[Row]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let Arguments { control_from, kv_policy, .. } = arguments;
    if arguments.json {
        let (prompt_tokens, tokens) = Lengths::of(items);
        let document = Document {
            control_from: control_from.to_string(),
            kv_policy: kv_policy.to_string(),
            bos,
            items: items.len(),
            prompt_tokens,
            tokens,
            n_layers,
            controllers: rows,
        };
        serde_json::to_writer(&mut out, &document)?;
        return writeln!(out);
    }
    let items = described(items);
    writeln!(out, "{items}; control from {control_from}, KV policy {kv_policy}, {n_layers} layers")?;
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
    let mut families: Vec<String> = FAMILIES.map(str::to_owned).to_vec();
    for row in rows.iter().skip(1) {
        if !families.contains(&family(row)) {
            families.push(family(row));
        }
    }
    let curve = |name: String| {
        let mut points: Vec<(f64, f64)> = rows
            .iter()
            .enumerate()
            .filter(|(i, row)| family(row) == name || (*i == 0 && FAMILIES.contains(&name.as_str())))
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
