//! The table, the conclusion and the plots of a study.

use crate::arguments::Arguments;
use dynlayer::metrics::output::{write_csv, write_json};
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::metrics::statistics::Interval;
use dynlayer_examples::study::{Comparison, Measure, StudyPoint, StudyReport, Verdict, input_name};
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::io::Write;

/// A line of the CSV file.
#[derive(Serialize)]
struct Line {
    input: String,
    trained_with: String,
    layers: f64,
    layers_low: f64,
    layers_high: f64,
    quality: f64,
    quality_low: f64,
    quality_high: f64,
    nll_layers: f64,
    nll: f64,
    nll_low: f64,
    nll_high: f64,
}

impl Line {
    fn new(point: &StudyPoint) -> Self {
        Self {
            input: input_name(point.input),
            trained_with: point.depth.to_string(),
            layers: point.layers.estimate,
            layers_low: point.layers.low,
            layers_high: point.layers.high,
            quality: point.quality.estimate,
            quality_low: point.quality.low,
            quality_high: point.quality.high,
            nll_layers: point.nll_layers.estimate,
            nll: point.nll.estimate,
            nll_low: point.nll.low,
            nll_high: point.nll.high,
        }
    }
}

/// Prints the table and the conclusion, and writes the files if a folder was given.
pub fn write(arguments: &Arguments, report: &StudyReport, quality: &str) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &arguments.out {
        let mut csv = Vec::new();
        write_csv(&mut csv, report.points.iter().map(Line::new))?;
        fs::write(folder.join("study.csv"), csv)?;
        write_json(fs::File::create(folder.join("study.json"))?, report)?;
        let nll = "negative log-likelihood, nats per token";
        let plots: [(&str, &str, Place); 2] = [
            ("quality", quality, |p| (p.layers.estimate, p.quality)),
            ("nll", nll, |p| (p.nll_layers.estimate, p.nll)),
        ];
        for (file, label, place) in plots {
            let plot = plot(report, label, place);
            fs::write(folder.join(format!("{file}.svg")), plot.svg(Size::default())?)?;
            fs::write(folder.join(format!("{file}.png")), plot.png(Size::default())?)?;
        }
    }
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{report}\n")?;
    for (measure, unit) in [(Measure::Quality, quality), (Measure::Nll, "nats per token of likelihood")] {
        if let Some(comparison) = report.hidden_against_constant(measure) {
            writeln!(out, "{}", conclusion(comparison, unit))?;
        }
    }
    Ok(())
}

/// Returns the conclusion about hidden states as a sentence.
fn conclusion(comparison: &Comparison, unit: &str) -> String {
    let gain = match comparison.gain {
        Some(Interval { low, estimate, high }) => format!("{estimate:+.4} [{low:+.4}, {high:+.4}] {unit}"),
        None => String::new(),
    };
    match comparison.verdict() {
        Verdict::Better => format!("Hidden states helped here, at equal depth by {gain}."),
        Verdict::Worse => format!("Hidden states did worse here, at equal depth by {gain}."),
        Verdict::NoDifference => format!("No difference between hidden states and a constant was found: {gain}."),
        Verdict::NotComparable => {
            "Hidden states and the constant reach no depth in common: try other --alphas.".to_owned()
        }
    }
}

/// A function that returns the place of a point in a plot: layers, and the value with its interval.
type Place = fn(&StudyPoint) -> (f64, Interval);

/// Returns a plot with a curve per input.
fn plot(report: &StudyReport, label: &str, place: Place) -> CurvePlot {
    let curves = report.points.chunk_by(|a, b| a.input == b.input).map(|points| {
        let mut places: Vec<(f64, Interval)> = points.iter().map(place).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve::with_bands(points.first().map(|point| input_name(point.input)).unwrap_or_default(), places)
    });
    CurvePlot {
        title: "Inputs of routers".into(),
        x_label: format!("layers per token, of {}", report.n_layers),
        y_label: label.into(),
        curves: curves.collect(),
    }
}
