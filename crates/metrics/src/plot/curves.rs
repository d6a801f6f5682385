//! Curves with confidence bands.

use super::axis::{TEXT, check_finite, legend, range, short, text, title};
use super::render::{self, Area, Draw, DrawError};
use super::{PlotError, Size};
use crate::statistics::Interval;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::{Deserialize, Serialize};

/// The dashes of lines: the numbers of pixels that are drawn and left out in turn. With 0 left out, a line is solid.
const DASHES: [(i32, i32); 4] = [(1, 0), (9, 5), (3, 3), (16, 6)];
const MARKERS: usize = 5;
/// The colours of curves, black first: four of those that people with colour blindness tell apart (Okabe and Ito 2002), which
/// also stand out from white and from black.
const COLORS: [RGBColor; MARKERS] =
    [BLACK, RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Curves in one pair of axes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePlot {
    /// Title above the plot.
    pub title: String,
    /// Label below the horizontal axis.
    pub x_label: String,
    /// Label beside the vertical axis.
    pub y_label: String,
    /// The curves. The combinations of dashes and markers repeat after 20 curves.
    pub curves: Vec<Curve>,
}

/// A named curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The curve's name in the legend.
    pub name: String,
    /// The points, in the order in which they are joined.
    pub points: Vec<CurvePoint>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Horizontal coordinate.
    pub x: f64,
    /// Vertical coordinate.
    pub y: f64,
    /// Lower and upper end of the band. A band is drawn between neighbours that both have one, and as a bar at a point
    /// whose neighbours have none.
    pub band: Option<(f64, f64)>,
}

impl Curve {
    /// A curve without bands.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter().map(|(x, y)| CurvePoint { x, y, band: None }).collect();
        Self { name: name.into(), points }
    }

    /// A curve of estimates with their intervals; an interval that is not known gives no band.
    pub fn with_bands(name: impl Into<String>, points: impl IntoIterator<Item = (f64, Interval)>) -> Self {
        let band = |y: Interval| y.is_known().then_some((y.low, y.high));
        let point = |(x, y): (f64, Interval)| CurvePoint { x, y: y.estimate, band: band(y) };
        Self { name: name.into(), points: points.into_iter().map(point).collect() }
    }
}

impl CurvePlot {
    /// Renders the plot as SVG.
    ///
    /// # Errors
    ///
    /// [`PlotError::Empty`] if there are no curves or a curve has no points, [`PlotError::Value`] for numbers that are
    /// not finite, [`PlotError::Size`] for an image that is too small or too large.
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
}

impl Draw for CurvePlot {
    fn check(&self) -> Result<(), PlotError> {
        if self.curves.is_empty() {
            return Err(PlotError::Empty { what: "curves" });
        }
        for curve in &self.curves {
            if curve.points.is_empty() {
                return Err(PlotError::Empty { what: "points of a curve" });
            }
            for (index, CurvePoint { x, y, band }) in curve.points.iter().enumerate() {
                for value in
                    [Some(*x), Some(*y), band.map(|band| band.0), band.map(|band| band.1)].into_iter().flatten()
                {
                    check_finite(|| format!("point {index} of curve {:?}", curve.name), value)?;
                }
            }
        }
        Ok(())
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), DrawError<B>> {
        let names: Vec<&str> = self.curves.iter().map(|curve| curve.name.as_str()).collect();
        let area = legend(&title(area, &self.title)?, &names, |area, index, (x, y)| {
            let line = [(x, y), (x + 34, y)];
            let (drawn, left_out) = DASHES[index % DASHES.len()];
            if left_out == 0 {
                area.draw(&PathElement::new(line, color(index).stroke_width(2)))?;
            } else {
                area.draw(&DashedPathElement::new(line, drawn, left_out, color(index).stroke_width(2)))?;
            }
            area.draw(&marker(index, (x + 17, y)))
        })?;

        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let ends = |p: &CurvePoint| p.band.map_or([p.y; 3], |(low, high)| [low, p.y, high]);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(2 * TEXT + 18)
            .y_label_area_size(4 * TEXT + 16)
            .build_cartesian_2d(range(points().map(|p| p.x)), range(points().flat_map(ends)))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .label_style(text(TEXT, HPos::Left, VPos::Top))
            .axis_desc_style(text(TEXT, HPos::Left, VPos::Top))
            .draw()?;

        // Bands are drawn first, so that they hide no line.
        for (index, curve) in self.curves.iter().enumerate() {
            let color = color(index);
            for part in curve.points.chunk_by(|a, b| a.band.is_some() && b.band.is_some()) {
                let bands: Vec<(f64, (f64, f64))> = part.iter().filter_map(|p| Some((p.x, p.band?))).collect();
                if let [(x, (low, high))] = bands[..] {
                    chart.draw_series([PathElement::new([(x, low), (x, high)], color.mix(0.5).stroke_width(2))])?;
                    continue;
                }
                let (low, high) =
                    (bands.iter().map(|(x, band)| (*x, band.0)), bands.iter().map(|(x, band)| (*x, band.1)));
                let outline: Vec<(f64, f64)> = low.clone().chain(high.clone().rev()).collect();
                chart.draw_series([Polygon::new(outline, color.mix(0.12))])?;
                for edge in [low.collect::<Vec<_>>(), high.collect()] {
                    chart.draw_series([PathElement::new(edge, color.mix(0.35))])?;
                }
            }
        }
        for (index, curve) in self.curves.iter().enumerate() {
            let line = || curve.points.iter().map(|p| (p.x, p.y));
            let color = color(index);
            let (drawn, left_out) = DASHES[index % DASHES.len()];
            if left_out == 0 {
                chart.draw_series([PathElement::new(line().collect::<Vec<_>>(), color.stroke_width(2))])?;
            } else {
                let line = line().collect::<Vec<_>>().into_iter();
                chart.draw_series(DashedLineSeries::new(line, drawn, left_out, color.stroke_width(2)))?;
            }
            let plotting = chart.plotting_area().strip_coord_spec();
            for place in line() {
                let (left, top) = plotting.get_base_pixel();
                let (x, y) = chart.backend_coord(&place);
                plotting.draw(&marker(index, (x - left, y - top)))?;
            }
        }
        Ok(())
    }
}

fn color(curve: usize) -> RGBColor {
    COLORS[curve % COLORS.len()]
}

/// The marker of a curve: disc, ring, square, triangle, cross.
fn marker<'a, B: DrawingBackend + 'a>(curve: usize, at: (i32, i32)) -> DynElement<'a, B, (i32, i32)> {
    let color = color(curve);
    // The numbers of dashes and of markers have no common factor, so all pairs occur before one repeats.
    match curve % MARKERS {
        0 => Circle::new(at, 4, color.filled()).into_dyn(),
        1 => (EmptyElement::at(at)
            + Circle::new((0, 0), 4, WHITE.filled())
            + Circle::new((0, 0), 4, color.stroke_width(2)))
        .into_dyn(),
        2 => (EmptyElement::at(at) + Rectangle::new([(-4, -4), (4, 4)], color.filled())).into_dyn(),
        3 => TriangleMarker::new(at, 6, color.filled()).into_dyn(),
        _ => Cross::new(at, 5, color.stroke_width(2)).into_dyn(),
    }
}
