//! Heat maps.

use super::axis::{TEXT, check_finite, pixels, short, text, title};
use super::render::{self, Area, Draw, DrawError};
use super::{PlotError, Size};
use crate::Grid;
use crate::numbers::ToF64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde::{Deserialize, Serialize};

/// Number of shades in the key beside the map.
const KEY: usize = 64;

/// A grid of numbers as shades from white (least) to black (most), row 0 at the top, with the numbers in the cells
/// where there is room.
///
/// ```
/// use dynlayer_metrics::Grid;
/// use dynlayer_metrics::plot::{HeatMap, Size};
///
/// let map = HeatMap {
///     title: "Similarity of layers".into(),
///     x_label: "layer".into(),
///     y_label: "layer".into(),
///     grid: Grid::from_rows(vec![vec![1.0, 0.25], vec![0.25, 1.0]])?,
///     range: Some((0.0, 1.0)),
/// };
/// assert!(map.svg(Size::default())?.contains("0.25"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// Title above the map.
    pub title: String,
    /// Label of the columns.
    pub x_label: String,
    /// Label of the rows.
    pub y_label: String,
    /// The numbers.
    pub grid: Grid,
    /// The numbers that are drawn white and black; by default the least and the greatest. Numbers outside of the range
    /// are white or black.
    pub range: Option<(f64, f64)>,
}

impl HeatMap {
    /// Renders the map as SVG.
    ///
    /// # Errors
    ///
    /// [`PlotError::Empty`] if there are no numbers, [`PlotError::Value`] for numbers that are not finite or a range
    /// that does not ascend, [`PlotError::Size`] for an image that is too small or too large.
    pub fn svg(&self, size: Size) -> Result<String, PlotError> {
        render::svg(self, size)
    }

    /// Renders the map as PNG.
    ///
    /// # Errors
    ///
    /// The same as for [`Self::svg`].
    pub fn png(&self, size: Size) -> Result<Vec<u8>, PlotError> {
        render::png(self, size)
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.grid.rows().iter().flatten().copied()
    }

    fn limits(&self) -> (f64, f64) {
        self.range.unwrap_or_else(|| {
            self.values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        })
    }
}

impl Draw for HeatMap {
    fn check(&self) -> Result<(), PlotError> {
        if self.values().next().is_none() {
            return Err(PlotError::Empty { what: "cells" });
        }
        for (row, values) in self.grid.rows().iter().enumerate() {
            values.iter().try_for_each(|value| check_finite(|| format!("a cell in row {row}"), *value))?;
        }
        if let Some((low, high)) = self.range {
            check_finite(|| "the lower end of the range".into(), low)?;
            check_finite(|| "the upper end of the range".into(), high)?;
            if low >= high {
                let what = "the upper end of the range".into();
                return Err(PlotError::Value { what, value: high, expected: "a number above the lower end" });
            }
        }
        Ok(())
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), DrawError<B>> {
        let area = title(area, &self.title)?;
        let (width, height) = area.dim_in_pixel();
        let (left, right, top, bottom) = (3 * TEXT + 24, pixels(width) - 110, 8, pixels(height) - 2 * TEXT - 26);
        let rows = self.grid.rows();
        let columns = rows[0].len();
        let (low, high) = self.limits();
        // A map of equal numbers is grey.
        let dark = |value: f64| if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
        let shade = |value: f64| HSLColor(0.0, 0.0, 1.0 - dark(value));

        let x = |column: usize| place(left, right, column, columns);
        let y = |row: usize| place(top, bottom, row, rows.len());
        // Numbers are drawn only if the widest one fits.
        let labels: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|value| short(*value)).collect()).collect();
        let size = text(TEXT - 3, HPos::Center, VPos::Center);
        let mut widest = 0;
        for label in labels.iter().flatten() {
            widest = widest.max(pixels(area.estimate_text_size(label, &size)?.0));
        }
        let fits = (right - left) / pixels_of(columns) > widest + 4 && (bottom - top) / pixels_of(rows.len()) > TEXT;
        for (row, values) in rows.iter().enumerate() {
            for (column, value) in values.iter().enumerate() {
                let corners = [(x(column), y(row)), (x(column + 1), y(row + 1))];
                area.draw(&Rectangle::new(corners, shade(*value).filled()))?;
                if fits {
                    let ink = if dark(*value) > 0.5 { WHITE } else { BLACK };
                    let middle = (i32::midpoint(corners[0].0, corners[1].0), i32::midpoint(corners[0].1, corners[1].1));
                    area.draw(&Text::new(labels[row][column].clone(), middle, size.color(&ink)))?;
                }
            }
        }
        area.draw(&Rectangle::new([(left, top), (right, bottom)], BLACK.stroke_width(1)))?;

        for column in (0..columns).step_by(every(columns, (right - left) / (2 * TEXT + 8))) {
            let middle = i32::midpoint(x(column), x(column + 1));
            area.draw(&Text::new(column.to_string(), (middle, bottom + 6), text(TEXT, HPos::Center, VPos::Top)))?;
        }
        for row in (0..rows.len()).step_by(every(rows.len(), (bottom - top) / (TEXT + 2))) {
            let middle = i32::midpoint(y(row), y(row + 1));
            area.draw(&Text::new(row.to_string(), (left - 6, middle), text(TEXT, HPos::Right, VPos::Center)))?;
        }
        let under = (i32::midpoint(left, right), pixels(height) - 8);
        area.draw(&Text::new(self.x_label.clone(), under, text(TEXT, HPos::Center, VPos::Bottom)))?;
        let beside = (8, i32::midpoint(top, bottom));
        let upwards = text(TEXT, HPos::Center, VPos::Top).transform(FontTransform::Rotate270);
        area.draw(&Text::new(self.y_label.clone(), beside, upwards))?;

        // The key, with the greatest number at the top.
        let (left, right) = (right + 20, right + 38);
        let step = |i: usize| place(top, bottom, i, KEY);
        for i in 0..KEY {
            let color = HSLColor(0.0, 0.0, i.to_f64() / (KEY - 1).to_f64());
            area.draw(&Rectangle::new([(left, step(i)), (right, step(i + 1))], color.filled()))?;
        }
        area.draw(&Rectangle::new([(left, top), (right, bottom)], BLACK.stroke_width(1)))?;
        let middle = f64::midpoint(low, high);
        for (value, y) in [(high, top + 6), (middle, i32::midpoint(top, bottom)), (low, bottom - 6)] {
            area.draw(&Text::new(short(value), (right + 6, y), text(TEXT, HPos::Left, VPos::Center)))?;
        }
        Ok(())
    }
}

/// The pixel at which the i-th of n equal parts begins.
fn place(from: i32, to: i32, i: usize, n: usize) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "between two pixels")]
    let offset = (f64::from(to - from) * i.to_f64() / n.to_f64()).round() as i32;
    from + offset
}

/// The smallest step that leaves at most `room` of n labels.
fn every(n: usize, room: i32) -> usize {
    n.div_ceil(usize::try_from(room).unwrap_or(1).max(1)).max(1)
}

fn pixels_of(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
