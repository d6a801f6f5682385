//! Histograms of depth.

use super::axis::{TEXT, check_finite, legend, short, text, title};
use super::render::{self, Area, Draw, DrawError};
use super::{PlotError, Size};
use crate::numbers::{ToF64, index};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::{Deserialize, Serialize};

/// A histogram of depths, for one or several methods side by side.
///
/// ```
/// use dynlayer_metrics::plot::{DepthHistogram, Size};
///
/// let mut histogram = DepthHistogram::new("Depth of 5 sequences", "sequences", 6);
/// histogram.add("oracle", &[1.0, 2.5, 2.0, 6.0, 2.0])?;
/// assert_eq!(histogram.counts()[0].1, [0, 1, 2, 1, 0, 0, 1]); // 2.5 counts as 3
/// histogram.svg(Size::default())?;
/// # Ok::<(), dynlayer_metrics::plot::PlotError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DepthHistogram {
    /// Title above the plot.
    pub title: String,
    /// Label beside the vertical axis: the things that are counted, such as tokens or sequences.
    pub y_label: String,
    n_layers: usize,
    counts: Vec<(String, Vec<u64>)>,
}

impl DepthHistogram {
    /// An empty histogram for a model of `n_layers` layers.
    pub fn new(title: impl Into<String>, y_label: impl Into<String>, n_layers: usize) -> Self {
        Self { title: title.into(), y_label: y_label.into(), n_layers, counts: Vec::new() }
    }

    /// Adds a method with its depths in layers, each rounded to the nearest whole number, halves up.
    ///
    /// # Errors
    ///
    /// [`PlotError::Value`] for a depth that is not from 0 to the number of layers. Nothing is added then.
    pub fn add(&mut self, name: impl Into<String>, depths: &[f64]) -> Result<(), PlotError> {
        let mut counts = vec![0; self.n_layers + 1];
        let name = name.into();
        for &value in depths {
            if !(0.0..=self.n_layers.to_f64()).contains(&value) {
                let what = format!("a depth of {name:?}");
                return Err(PlotError::Value { what, value, expected: "a number from 0 to the number of layers" });
            }
            counts[index(value + 0.5)] += 1;
        }
        self.counts.push((name, counts));
        Ok(())
    }

    /// The name of each method with its counts, one for each depth from 0 to the number of layers.
    pub fn counts(&self) -> &[(String, Vec<u64>)] {
        &self.counts
    }

    /// Renders the plot as SVG.
    ///
    /// # Errors
    ///
    /// [`PlotError::Empty`] if no depths were added, [`PlotError::Size`] for an image that is too small or
    /// too large.
    pub fn svg(&self, size: Size) -> Result<String, PlotError> {
        render::svg(self, size)
    }

    /// Renders the plot as PNG.
    ///
    /// # Errors
    ///
    /// The same as for [`Self::svg`].
    pub fn png(&self, size: Size) -> Result<Vec<u8>, PlotError> {
        render::png(self, size)
    }

    fn most(&self) -> f64 {
        self.counts.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or_default().to_f64()
    }
}

impl Draw for DepthHistogram {
    fn check(&self) -> Result<(), PlotError> {
        if self.most() == 0.0 {
            return Err(PlotError::Empty { what: "depths" });
        }
        check_finite(|| "a count".into(), self.most())
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), DrawError<B>> {
        let names: Vec<&str> = self.counts.iter().map(|(name, _)| name.as_str()).collect();
        let methods = names.len().to_f64();
        // Shades go from black to white, all outlined in black.
        let shade = |method: usize| HSLColor(0.0, 0.0, method.to_f64() / (methods - 1.0).max(1.0));
        let area = legend(&title(area, &self.title)?, &names, |area, index, (x, y)| {
            let corners = [(x + 8, y - 7), (x + 30, y + 7)];
            area.draw(&Rectangle::new(corners, shade(index).filled()))?;
            area.draw(&Rectangle::new(corners, BLACK.stroke_width(1)))
        })?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(2 * TEXT + 18)
            .y_label_area_size(4 * TEXT + 16)
            .build_cartesian_2d(-0.6..self.n_layers.to_f64() + 0.6, 0.0..self.most() * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc("layers")
            .y_desc(&self.y_label)
            .x_labels(self.n_layers.min(20) + 1)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .label_style(text(TEXT, HPos::Left, VPos::Top))
            .axis_desc_style(text(TEXT, HPos::Left, VPos::Top))
            .draw()?;
        let width = 0.8 / methods;
        for (method, (_, counts)) in self.counts.iter().enumerate() {
            for (depth, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let left = depth.to_f64() - 0.4 + width * method.to_f64();
                let corners = [(left, 0.0), (left + width, (*count).to_f64())];
                chart.draw_series([Rectangle::new(corners, shade(method).filled())])?;
                chart.draw_series([Rectangle::new(corners, BLACK.stroke_width(1))])?;
            }
        }
        Ok(())
    }
}
