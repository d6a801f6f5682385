//! Plots as SVG and PNG: curves with confidence bands, heat maps, histograms of depth. Feature `plot`.
//!
//! Plots are readable in black and white: curves differ in dashes and markers, not only in colour, bars in shade, and
//! cells of heat maps carry their numbers where there is room. No library or font of the system is needed: text is
//! drawn with the crate's own subset of DejaVu Sans (Latin, Greek, some mathematical signs), which an SVG names
//! "sans-serif".
//!
//! ```
//! use dynlayer_metrics::plot::{Curve, CurvePlot, Size};
//! use dynlayer_metrics::statistics::Interval;
//!
//! let skip = [(15.0, 0.31), (30.0, 0.42)]
//!     .map(|(depth, f1)| (depth, Interval { low: f1 - 0.03, estimate: f1, high: f1 + 0.03 }));
//! let plot = CurvePlot {
//!     title: "ROUGE-L against depth".into(),
//!     x_label: "layers per token".into(),
//!     y_label: "F1".into(),
//!     curves: vec![Curve::with_bands("uniform skipping", skip), Curve::new("full", [(15.0, 0.42), (30.0, 0.42)])],
//! };
//! assert!(plot.svg(Size::default())?.contains("uniform skipping"));
//! assert_eq!(&plot.png(Size::default())?[1..4], b"PNG");
//! # Ok::<(), dynlayer_metrics::plot::PlotError>(())
//! ```

mod axis;
mod curves;
mod depths;
mod error;
mod heat_map;
mod render;

pub use curves::{Curve, CurvePlot, CurvePoint};
pub use depths::DepthHistogram;
pub use error::PlotError;
pub use heat_map::HeatMap;
pub use render::Size;
