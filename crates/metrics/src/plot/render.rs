//! Rendering of plots as SVG and PNG.

use super::PlotError;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

const LEAST: (u32, u32) = (240, 180);
const MOST: (u32, u32) = (8192, 8192);

/// True once the font is registered with plotters. plotters keeps fonts by name for the whole process, so registering
/// it again would replace a font that the program has registered since.
static REGISTERED: OnceLock<bool> = OnceLock::new();

/// The size of an image in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Default for Size {
    /// 800 x 500 pixels.
    fn default() -> Self {
        Self { width: 800, height: 500 }
    }
}

/// A plot that can be drawn.
pub(super) trait Draw {
    /// Returns an error if the plot cannot be drawn.
    fn check(&self) -> Result<(), PlotError>;

    /// Draws on a white area.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), DrawError<B>>;
}

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type DrawError<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

/// A style that swaps black and white if the viewer prefers dark pages. Style rules take precedence over the attributes
/// that plotters writes.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
    [fill=\"#FFFFFF\"] {fill: #0d1117} [fill=\"#000000\"] {fill: #e6edf3} [stroke=\"#000000\"] {stroke: #e6edf3}\
    }</style>";

/// Renders a drawing as SVG, which follows the viewer's preference for light or dark pages.
pub(super) fn svg(drawing: &impl Draw, size: Size) -> Result<String, PlotError> {
    prepare(drawing, size)?;
    let mut text = String::new();
    fill(drawing, SVGBackend::with_string(&mut text, (size.width, size.height)))?;
    if let Some(opening) = text.find("<svg").and_then(|start| text[start..].find('>').map(|end| start + end)) {
        text.insert_str(opening + 1, DARK);
    }
    Ok(text)
}

/// Renders a drawing as PNG.
pub(super) fn png(drawing: &impl Draw, size: Size) -> Result<Vec<u8>, PlotError> {
    prepare(drawing, size)?;
    let mut pixels = vec![0; 3 * size.width as usize * size.height as usize];
    fill(drawing, BitMapBackend::with_buffer(&mut pixels, (size.width, size.height)))?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(file)
}

fn prepare(drawing: &impl Draw, Size { width, height }: Size) -> Result<(), PlotError> {
    if width < LEAST.0 || height < LEAST.1 || width > MOST.0 || height > MOST.1 {
        return Err(PlotError::Size { width, height, least: LEAST, most: MOST });
    }
    drawing.check()?;
    if *REGISTERED.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok()) {
        Ok(())
    } else {
        Err(PlotError::Draw("the built-in font cannot be read".into()))
    }
}

fn fill<B: DrawingBackend>(drawing: &impl Draw, backend: B) -> Result<(), PlotError> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE).and_then(|()| drawing.draw(&area)).and_then(|()| area.present()).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}
