//! Plots: text is drawn without fonts of the system, different curves look different, and invalid plots are refused.

use dynlayer_metrics::Grid;
use dynlayer_metrics::plot::{Curve, CurvePlot, CurvePoint, DepthHistogram, HeatMap, PlotError, Size};

fn curves(n: usize) -> CurvePlot {
    let curve = |i: usize| {
        let y = |x: f64| 0.2 + 0.02 * x + 0.05 * f64::from(u32::try_from(i).unwrap());
        let points = (0..6).map(|x| f64::from(x) * 5.0).map(|x| CurvePoint {
            x,
            y: y(x),
            band: (i == 0).then(|| (y(x) - 0.04, y(x) + 0.03)),
        });
        Curve { name: format!("method {i}"), points: points.collect() }
    };
    CurvePlot {
        title: "ROUGE-L against depth".into(),
        x_label: "layers per token".into(),
        y_label: "F1 (±95 %)".into(),
        curves: (0..n).map(curve).collect(),
    }
}

fn heat_map(columns: usize) -> HeatMap {
    let value = |row: usize, column: usize| f64::from(u32::try_from((row * 3 + column) % 11).unwrap()) / 10.0;
    let rows = (0..8).map(|row| (0..columns).map(|column| value(row, column)).collect()).collect();
    HeatMap {
        title: "Similarity".into(),
        x_label: "token".into(),
        y_label: "layer".into(),
        grid: Grid::from_rows(rows).unwrap(),
        range: None,
    }
}

fn histogram() -> DepthHistogram {
    let mut histogram = DepthHistogram::new("Depth", "sequences", 12);
    histogram.add("oracle", &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 12.0]).unwrap();
    histogram.add("random", &[5.0, 6.0, 6.4, 6.5, 7.0]).unwrap();
    histogram.add("third", &[5.0, 5.0]).unwrap();
    histogram
}

struct Picture {
    width: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn of(file: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        Self { width: info.width as usize, pixels }
    }

    fn gray(&self, x: usize, y: usize) -> u8 {
        self.pixels[3 * (y * self.width + x)]
    }

    /// Returns true if anything is drawn here, whatever its colour.
    fn ink(&self, x: usize, y: usize) -> bool {
        self.pixels[3 * (y * self.width + x)..][..3].iter().any(|part| *part < 200)
    }

    fn differing(&self, other: &Self) -> usize {
        self.pixels.chunks(3).zip(other.pixels.chunks(3)).filter(|(a, b)| a != b).count()
    }
}

const SIZE: Size = Size { width: 800, height: 500 };

#[test]
fn titles_and_labels_are_drawn() {
    let with = curves(1);
    let picture = Picture::of(&with.png(SIZE).unwrap());
    let without = |change: fn(&mut CurvePlot)| {
        let mut plot = with.clone();
        change(&mut plot);
        Picture::of(&plot.png(SIZE).unwrap())
    };
    // Blanks keep the layout, so that only the glyphs differ: some hundred pixels of ink each.
    for (what, other) in [
        ("title", without(|plot| plot.title = " ".into())),
        ("x label", without(|plot| plot.x_label = " ".into())),
        ("y label", without(|plot| plot.y_label = " ".into())),
        ("name", without(|plot| plot.curves[0].name = " ".into())),
    ] {
        let differing = picture.differing(&other);
        assert!(differing > 200, "{what}: {differing} pixels");
    }
    // Letters have their own shapes, and the font has them all: a missing one would look like any other missing one.
    let glyph = |text: &str| titled(&with, text);
    assert!(glyph("b").differing(&glyph("d")) > 10);
    for (a, b) in [("±", "α"), ("é", "≤"), ("−", "→")] {
        assert!(glyph(a).differing(&glyph(b)) > 0, "{a} and {b}");
    }
}

fn titled(plot: &CurvePlot, title: &str) -> Picture {
    Picture::of(&CurvePlot { title: title.into(), ..plot.clone() }.png(SIZE).unwrap())
}

/// No bar or cell depends on colour.
#[test]
fn bars_and_cells_are_grey() {
    for file in [heat_map(10).png(SIZE), histogram().png(SIZE)] {
        let picture = Picture::of(&file.unwrap());
        assert!(picture.pixels.chunks(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
        let ink = picture.pixels.chunks(3).filter(|pixel| pixel[0] < 64).count();
        assert!(ink > 2000, "{ink} dark pixels");
    }
}

/// The colours of curves stand out from light and dark pages: a contrast of 3, as WCAG 2.1 (1.4.11) asks of graphics.
#[test]
fn colours_of_curves_stand_out() {
    let luminance = |color: &str| {
        let part = |at: usize| f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(part(1)) + 0.7152 * linear(part(3)) + 0.0722 * linear(part(5))
    };
    let contrast = |a: &str, b: &str| {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    };
    let svg = curves(6).svg(SIZE).unwrap();
    let after_hash = svg.split("stroke=\"#").skip(1).map(|rest| format!("#{}", &rest[..6]));
    // Black and white are swapped on dark pages.
    let colors: std::collections::BTreeSet<String> = after_hash.filter(|color| color != "#000000").collect();
    assert_eq!(colors.len(), 4, "{colors:?}");
    for color in colors {
        let found = [contrast(&color, "#FFFFFF"), contrast(&color, "#0d1117")];
        assert!(found.iter().all(|contrast| *contrast >= 3.0), "{color}: {found:?}");
    }
}

/// Each of the first twenty curves has a line and markers of its own, also where colours are not seen.
#[test]
fn curves_look_different() {
    // So wide that the legend has one line however many curves there are: more would move the plot.
    let size = Size { width: 2000, height: 500 };
    let part = |i: usize| {
        let mut plot = curves(20);
        // All in one place: in the picture only the last is seen, and before it nothing but its own dashes and markers.
        plot.curves = (0..=i).map(|_| Curve::new("x", [(0.0, 0.0), (0.0, 0.0)])).collect();
        plot.curves[i] = Curve::new("x", [(0.0, 0.0), (0.8, 0.8), (1.0, 1.0)]);
        let picture = Picture::of(&plot.png(size).unwrap());
        // The line in the upper right part of the plot, below the legend and away from the other curves' point.
        (100..380).flat_map(|y| (900..1990).map(move |x| (x, y))).map(|(x, y)| picture.ink(x, y)).collect::<Vec<_>>()
    };
    let parts: Vec<_> = (0..20).map(part).collect();
    for a in 0..parts.len() {
        assert!(parts[a].iter().filter(|ink| **ink).count() > 100, "curve {a} is not there");
        for b in 0..a {
            assert_ne!(parts[a], parts[b], "curves {a} and {b}");
        }
    }
}

#[test]
fn svg_holds_the_text() {
    let svg = curves(3).svg(SIZE).unwrap();
    for text in ["ROUGE-L against depth", "layers per token", "F1 (±95 %)", "method 2"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let map = heat_map(10).svg(SIZE).unwrap();
    assert!(map.matches(">\n0.7\n<").count() >= 7, "cells carry their numbers");
    // Too many columns for numbers.
    assert!(heat_map(200).svg(SIZE).unwrap().matches(">\n0.7\n<").count() <= 1);
    assert!(histogram().svg(SIZE).unwrap().contains("random"));
    // Markup in a title is escaped.
    let mut sharp = curves(1);
    sharp.title = "a < b & c".into();
    assert!(sharp.svg(SIZE).unwrap().contains("a &lt; b &amp; c"));
}

/// Larger numbers have darker cells.
#[test]
fn larger_numbers_are_darker() {
    let mut map = heat_map(4);
    map.grid = Grid::from_rows(vec![(0..4).map(f64::from).collect()]).unwrap();
    let picture = Picture::of(&map.png(SIZE).unwrap());
    // A line through the cells, above their numbers.
    let line: Vec<u8> = (100..680).map(|x| picture.gray(x, 80)).collect();
    assert_eq!((line[0], line[579]), (255, 0));
    assert!(line.windows(2).all(|pair| pair[0] >= pair[1]), "{line:?}");
    // A wider range leaves fewer shades.
    map.range = Some((0.0, 6.0));
    let half = Picture::of(&map.png(SIZE).unwrap()).gray(679, 80);
    assert!((120..136).contains(&half), "{half}");
}

#[test]
fn nonsense_is_refused() {
    let with =
        |points: &[(f64, f64)]| CurvePlot { curves: vec![Curve::new("c", points.to_vec())], ..curves(1) }.svg(SIZE);
    assert!(matches!(with(&[]), Err(PlotError::Empty { .. })));
    assert!(matches!(curves(0).svg(SIZE), Err(PlotError::Empty { .. })));
    for bad in [f64::NAN, f64::INFINITY, f64::MAX] {
        assert!(matches!(with(&[(0.0, bad)]), Err(PlotError::Value { .. })));
        assert!(matches!(with(&[(bad, 0.0)]), Err(PlotError::Value { .. })));
    }
    // A grid holds no NaN; a number that is too large for a difference is the plot's to refuse.
    let grid = Grid::from_rows(vec![vec![f64::MAX]]).unwrap();
    assert!(matches!(HeatMap { grid, ..heat_map(1) }.png(SIZE), Err(PlotError::Value { .. })));
    assert!(matches!(HeatMap::default().png(SIZE), Err(PlotError::Empty { .. })));
    assert!(matches!(HeatMap { range: Some((1.0, 1.0)), ..heat_map(2) }.svg(SIZE), Err(PlotError::Value { .. })));
    let mut empty = DepthHistogram::new("", "", 3);
    assert!(matches!(empty.svg(SIZE), Err(PlotError::Empty { .. })));
    for bad in [-0.5, 3.5, f64::NAN] {
        assert!(matches!(empty.add("x", &[bad]), Err(PlotError::Value { .. })));
    }
    for (width, height) in [(0, 0), (100, 500), (10_000, 500)] {
        assert!(matches!(curves(1).png(Size { width, height }), Err(PlotError::Size { .. })));
    }
    // The smallest sizes and single points work.
    let small = Size { width: 240, height: 180 };
    assert!(with(&[(1.0, 1.0)]).is_ok() && curves(8).png(small).is_ok() && heat_map(30).png(small).is_ok());
    assert!(histogram().png(small).is_ok());
}
