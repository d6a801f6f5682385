//! The error for a plot that cannot be drawn.

/// The error for a plot that cannot be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The plot has no data.
    #[error("there are no {what} to draw")]
    Empty {
        /// The kind of things that are missing.
        what: &'static str,
    },
    /// A value is NaN, infinite or out of range.
    #[error("{what} is {value}; {expected} is needed")]
    Value {
        /// The value's name.
        what: String,
        /// The value.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The image is too small for its text, or larger than an image can be.
    #[error("the image has {width} x {height} pixels; {least:?} to {most:?} are possible")]
    Size {
        /// The width of the image.
        width: u32,
        /// The height of the image.
        height: u32,
        /// The smallest width and height.
        least: (u32, u32),
        /// The largest width and height.
        most: (u32, u32),
    },
    /// Drawing failed.
    #[error("drawing failed: {0}")]
    Draw(String),
}
