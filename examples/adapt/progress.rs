//! The agreement with the original model in the course of a training.

use super::measure::Distance;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer_examples::output::tell;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::{Path, PathBuf};

/// The checks of a training so far, in a file with a line of JSON for each.
pub struct Progress {
    file: PathBuf,
    checks: Vec<Check>,
}

#[derive(Serialize, Deserialize)]
struct Check {
    /// The number of steps done.
    steps: u64,
    distances: Vec<Distance>,
}

impl Progress {
    /// Reads the checks of the first `steps` steps, if there are any. Later ones will be made again.
    pub fn open(file: PathBuf, steps: u64) -> Result<Self, Box<dyn Error>> {
        let mut checks: Vec<Check> = Vec::new();
        if file.exists() {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            checks.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        checks.retain(|check| check.steps <= steps);
        Ok(Self { file, checks })
    }

    /// Adds a check, writes the file and prints a line.
    pub fn add(&mut self, steps: u64, distances: Vec<Distance>) -> Result<(), Box<dyn Error>> {
        let shown = distances.iter().map(|found| {
            let Distance { controller, agreement, divergence, .. } = found;
            format!("{controller} {:.1} % ({divergence:.3} nats)", 100.0 * agreement)
        });
        tell(format_args!("after {steps} steps: {}\n", shown.collect::<Vec<_>>().join(", ")));
        self.checks.push(Check { steps, distances });
        let lines = self.checks.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        dynlayer::model::format::write_atomic(&self.file, (lines.join("\n") + "\n").as_bytes())
            .map_err(|error| format!("{}: {error}", self.file.display()).into())
    }

    /// Writes a plot of all checks to `curve.svg` in the folder.
    pub fn plot(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let Some(first) = self.checks.first() else { return Ok(()) };
        let curve = |(at, of): (usize, &Distance)| {
            let points = self.checks.iter().filter_map(|check| Some((check, check.distances.get(at)?)));
            Curve::new(&of.controller, points.map(|(check, found)| (check.steps as f64, 100.0 * found.agreement)))
        };
        let plot = CurvePlot {
            title: "Agreement with the original model, held-out prompts".into(),
            x_label: "steps".into(),
            y_label: "% of tokens".into(),
            curves: first.distances.iter().enumerate().map(curve).collect(),
        };
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let file = folder.join("curve.svg");
        let written = dynlayer::model::format::write_atomic(&file, plot.svg(Size::default())?.as_bytes());
        written.map_err(|error| format!("{}: {error}", file.display()).into())
    }
}
