//! Titles, legends and ranges of all plots.

use super::PlotError;
use super::render::{Area, DrawError};
use crate::numbers::index;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// Height of text in pixels.
pub(super) const TEXT: i32 = 16;
/// Height of a title in pixels.
pub(super) const TITLE: i32 = 20;

/// Black text of the given height in pixels, anchored at one of its sides.
pub(super) fn text(size: i32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size)).color(&BLACK).pos(Pos::new(horizontal, vertical))
}

/// Draws a title at the top, and returns the area below.
pub(super) fn title<B: DrawingBackend>(area: &Area<B>, title: &str) -> Result<Area<B>, DrawError<B>> {
    let (top, rest) = area.split_vertically(if title.is_empty() { 8 } else { TITLE + 14 });
    let middle = pixels(area.dim_in_pixel().0) / 2;
    top.draw(&Text::new(title.to_owned(), (middle, 8), text(TITLE, HPos::Center, VPos::Top)))?;
    Ok(rest)
}

/// Draws a legend at the top of an area, wrapped into lines, and returns the area below.
///
/// `sample` draws the sample of an entry, 34 pixels wide, to the right of the given point, whose y is the middle of the
/// text. Nothing is drawn for a single name that is empty.
pub(super) fn legend<B: DrawingBackend>(
    area: &Area<B>,
    names: &[&str],
    mut sample: impl FnMut(&Area<B>, usize, (i32, i32)) -> Result<(), DrawError<B>>,
) -> Result<Area<B>, DrawError<B>> {
    const LINE: i32 = TEXT + 6;
    const LEFT: i32 = 20;
    if matches!(names, [""]) {
        return Ok(area.clone());
    }
    let style = text(TEXT, HPos::Left, VPos::Center);
    let width = pixels(area.dim_in_pixel().0);
    let (mut x, mut y) = (LEFT, LINE / 2);
    let mut places = Vec::new();
    for name in names {
        let entry = 34 + pixels(area.estimate_text_size(name, &style)?.0) + 24;
        if x > LEFT && x + entry > width {
            (x, y) = (LEFT, y + LINE);
        }
        places.push((x, y));
        x += entry;
    }
    let (top, rest) = area.split_vertically(y + LINE / 2 + 4);
    for (index, (name, place)) in names.iter().zip(places).enumerate() {
        sample(&top, index, place)?;
        top.draw(&Text::new((*name).to_owned(), (place.0 + 40, place.1), style.clone()))?;
    }
    Ok(rest)
}

/// The range of values, with some room at both ends.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let room = if high > low { 0.05 * (high - low) } else { 0.1 * high.abs().max(1.0) };
    low - room..high + room
}

/// Returns an error for NaN, infinity, and values so large that the difference of two would be infinite.
pub(super) fn check_finite(what: impl FnOnce() -> String, value: f64) -> Result<(), PlotError> {
    if value.abs() < 1e300 {
        return Ok(());
    }
    Err(PlotError::Value { what: what(), value, expected: "a finite number below 1e300" })
}

/// Converts a length in pixels, at most 8192 in an image, to a coordinate.
pub(super) fn pixels(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Formats a number with three significant digits (more for large whole numbers), without trailing zeros.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let decimals = index((2.0 - magnitude).clamp(0.0, 6.0));
    let digits = format!("{value:.decimals$}");
    match digits.split_once('.') {
        Some(_) => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::{range, short};

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, -0.25, 12.0, 0.123_456, 1234.5, 1e-7, 3e9, 100.0].map(short);
        assert_eq!(texts, ["0", "0.5", "-0.25", "12", "0.123", "1234", "1.00e-7", "3.00e9", "100"]);
    }

    #[test]
    fn ranges_have_room() {
        assert_eq!(range([1.0, 3.0].into_iter()), 0.9..3.1);
        let one = range([5.0].into_iter());
        assert!(one.start < 5.0 && one.end > 5.0);
    }
}
