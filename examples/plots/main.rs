//! Draws one plot of each kind, as SVG and PNG, into a folder.
//!
//! ```text
//! cargo run --example plots -- FOLDER
//! ```
//!
//! The numbers are made up, in the shapes that the results of a study have.

use clap::Parser;
use dynlayer::metrics::Grid;
use dynlayer::metrics::plot::{Curve, CurvePlot, DepthHistogram, HeatMap, PlotError, Size};
use dynlayer::metrics::statistics::Interval;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::output::check_folder;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const LAYERS: u32 = 30;

/// Draws one plot of each kind, as SVG and PNG.
#[derive(Parser, Debug)]
struct Arguments {
    /// The folder to write the plots to.
    folder: PathBuf,
}

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse().folder))
}

fn run(folder: &Path) -> Result<(), Box<dyn Error>> {
    check_folder(folder)?;
    let size = Size::default();
    let (curves, map, histogram) = (curves(), heat_map()?, histogram()?);
    save(folder, "curves", &curves.svg(size)?, &curves.png(size)?)?;
    save(folder, "heat_map", &map.svg(size)?, &map.png(size)?)?;
    save(folder, "depths", &histogram.svg(size)?, &histogram.png(size)?)?;
    Ok(())
}

fn save(folder: &Path, name: &str, svg: &str, png: &[u8]) -> Result<(), String> {
    let file = folder.join(name);
    let svg = write_atomic(&file.with_extension("svg"), svg.as_bytes());
    let png = svg.and_then(|()| write_atomic(&file.with_extension("png"), png));
    png.map_err(|error| format!("{}: {error}", file.display()))
}

/// Returns a plot of quality against depth for four methods, two of them with intervals.
fn curves() -> CurvePlot {
    let depths = || (1..=6).map(|i| f64::from(i * 5));
    let quality = |steepness: f64| move |depth: f64| 0.45 * (1.0 - (-depth * steepness).exp());
    let interval = |estimate: f64| Interval { low: estimate - 0.025, estimate, high: estimate + 0.02 };
    let banded = |name, steepness| Curve::with_bands(name, depths().map(|d| (d, interval(quality(steepness)(d)))));
    let plain = |name, steepness| Curve::new(name, depths().map(|d| (d, quality(steepness)(d))));
    CurvePlot {
        title: "ROUGE-L against depth".into(),
        x_label: "layers per token".into(),
        y_label: "F1 (95 % intervals)".into(),
        curves: vec![
            banded("oracle", 0.3),
            plain("influence", 0.16),
            plain("uniform", 0.13),
            banded("early exit", 0.05),
        ],
    }
}

/// Returns a heat map of the similarity of the states after every layer to the full model's, per token.
fn heat_map() -> Result<HeatMap, Box<dyn Error>> {
    let value = |layer: u32, token: u32| 1.0 - f64::from(layer) * f64::from(token % 7 + 1) / 300.0;
    let rows = (0..12).map(|layer| (0..14).map(|token| value(layer, token)).collect()).collect();
    Ok(HeatMap {
        title: "Cosine similarity to full depth".into(),
        x_label: "token".into(),
        y_label: "layer".into(),
        grid: Grid::from_rows(rows)?,
        range: None,
    })
}

/// Returns a histogram of the depths of sequences under two methods.
fn histogram() -> Result<DepthHistogram, PlotError> {
    let mut histogram = DepthHistogram::new("Depth of 400 sequences", "sequences", LAYERS as usize);
    let spread = |i: u32, k: u32| f64::from(i * k % 17 + i * i % 11);
    let oracle: Vec<f64> = (0..400).map(|i| (spread(i, 7) * 0.9).min(f64::from(LAYERS))).collect();
    let random: Vec<f64> = (0..400).map(|i| (4.0 + spread(i, 5)).min(f64::from(LAYERS))).collect();
    histogram.add("oracle", &oracle)?;
    histogram.add("random", &random)?;
    Ok(histogram)
}
