//! The table, the conclusion and the plots of a study.

use crate::arguments::Arguments;
use dynlayer::metrics::output::{write_csv, write_json};
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::metrics::statistics::Interval;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::output;
use dynlayer_examples::study::{Comparison, Measure, StudyPoint, StudyReport, Verdict, input_name, signed};
use serde::Serialize;
use std::error::Error;
use std::io::Write;
use std::path::Path;

/// The files that a study writes.
const FILES: [&str; 6] = ["study.csv", "study.json", "quality.svg", "quality.png", "nll.svg", "nll.png"];

/// The report as JSON.
#[derive(Serialize)]
struct Document<'a> {
    /// `true` if texts that are no chats begin with a special token that the tokenizer adds.
    bos: bool,
    #[serde(flatten)]
    report: &'a StudyReport,
}

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

/// Checks before the work what would spoil its results: a seed, a price or an input that is given twice, which would
/// count as two, a folder in which nothing can be written, and files of another study.
pub fn check(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let lists: [(&str, Vec<String>); 3] = [
        ("--seeds", arguments.seeds.iter().map(ToString::to_string).collect()),
        ("--alphas", arguments.alphas.iter().map(ToString::to_string).collect()),
        ("--inputs", arguments.inputs.iter().copied().map(input_name).collect()),
    ];
    for (option, values) in lists {
        if let Some((_, twice)) = values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)) {
            return Err(format!("{option}: {twice} comes twice; expected each value once").into());
        }
    }
    if arguments.tokens == 0 {
        return Err("--tokens 0 leaves nothing of a prompt; expected at least 1".into());
    }
    let Some(folder) = &arguments.out else { return Ok(()) };
    output::check_folder(folder)?;
    for file in FILES.map(|name| folder.join(name)) {
        output::check(&file)?;
        if !arguments.overwrite && file.is_file() {
            let file = file.display();
            return Err(format!(
                "{file}: belongs to another study; name another folder for --out, or add --overwrite to replace the \
                 files of that study"
            )
            .into());
        }
    }
    Ok(())
}

/// Prints the table and the conclusion, and writes the files if a folder was given.
pub fn write(arguments: &Arguments, bos: bool, report: &StudyReport, quality: &str) -> Result<(), Box<dyn Error>> {
    let document = Document { bos, report };
    // A file that cannot be written does not take the results away.
    let written = arguments.out.as_deref().map_or(Ok(()), |folder| write_files(folder, &document, quality));
    let printed = print(arguments, &document, quality);
    written.and(printed)
}

fn write_files(folder: &Path, document: &Document<'_>, quality: &str) -> Result<(), Box<dyn Error>> {
    let report = document.report;
    let save = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        write_atomic(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    };
    let (mut csv, mut json) = (Vec::new(), Vec::new());
    write_csv(&mut csv, report.points.iter().map(Line::new))?;
    save("study.csv", &csv)?;
    write_json(&mut json, document)?;
    save("study.json", &json)?;
    let nll = "negative log-likelihood, nats per token";
    let plots: [(&str, &str, Place); 2] =
        [("quality", quality, |p| (p.layers.estimate, p.quality)), ("nll", nll, |p| (p.nll_layers.estimate, p.nll))];
    for (name, label, place) in plots {
        let plot = plot(report, label, place);
        save(&format!("{name}.svg"), plot.svg(Size::default())?.as_bytes())?;
        save(&format!("{name}.png"), &plot.png(Size::default())?)?;
    }
    Ok(())
}

fn print(arguments: &Arguments, document: &Document<'_>, quality: &str) -> Result<(), Box<dyn Error>> {
    let report = document.report;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer(&mut out, document)?;
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
    let gain = comparison.gain.map_or_else(String::new, |gain| format!("{} {unit}", signed(gain)));
    match comparison.verdict() {
        Verdict::Better => format!("Hidden states helped here, at equal depth by {gain}."),
        Verdict::Worse => format!("Hidden states did worse here, at equal depth by {gain}."),
        Verdict::NoDifference => format!("No difference between hidden states and a constant was found: {gain}."),
        Verdict::Unknown => format!("One item does not tell whether hidden states help: {gain}."),
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
