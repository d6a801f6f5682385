//! The plot of quality against depth.

use super::measure::Row;
use super::oracle::Oracle;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::model::format::write_atomic;
use std::error::Error;
use std::path::Path;

/// The approximate number of points of the oracle's curve.
const POINTS: usize = 12;

/// Writes `quality.svg` and `quality.png`, and returns their paths as text.
pub fn write(
    folder: &Path,
    curves: &[(&str, &Vec<Row>)],
    router: Option<&Row>,
    oracle: &Oracle,
) -> Result<String, Box<dyn Error>> {
    let point = |row: &Row| (row.depth, row.exact_match);
    let mut drawn: Vec<Curve> = curves.iter().map(|(name, rows)| Curve::new(*name, rows.iter().map(point))).collect();
    drawn.extend(router.map(|row| Curve::new("learned router", [point(row)])));
    // A frontier has a point each time that a problem is given more layers; some of them are enough to draw it.
    let apart = oracle.frontier.len().div_ceil(POINTS).max(1);
    let last = oracle.frontier.len().saturating_sub(1);
    let some = oracle.frontier.iter().enumerate().filter(|(i, _)| i % apart == 0 || *i == last);
    drawn.push(Curve::new("oracle", some.map(|(_, point)| (point.mean_cost, point.mean_quality))));
    let plot = CurvePlot {
        title: "Quality against depth, embedded model".into(),
        x_label: "layers per token".into(),
        y_label: "exact match".into(),
        curves: drawn,
    };
    let save = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        write_atomic(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    };
    save("quality.svg", plot.svg(Size::default())?.as_bytes())?;
    save("quality.png", &plot.png(Size::default())?)?;
    Ok(format!("{} and .png", folder.join("quality.svg").display()))
}
