//! Results as JSON.

use super::OutputError;
use serde::Serialize;
use std::io::Write;

/// Writes a value as JSON, indented, with a newline at the end. Numbers keep all their digits; NaN and infinity, which
/// JSON cannot express, are written as `null`.
///
/// ```
/// use dynlayer_metrics::output::write_json;
/// use dynlayer_metrics::text::Score;
///
/// let mut out = Vec::new();
/// let score = Score::new(0.5, 0.5)?;
/// write_json(&mut out, &score)?;
/// let read: Score = serde_json::from_slice(&out)?;
/// assert_eq!(read, score);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the value cannot be serialised, or writing fails.
pub fn write_json(mut out: impl Write, value: &impl Serialize) -> Result<(), OutputError> {
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Writes values as JSON, one per line, with numbers as in [`write_json`].
///
/// # Errors
///
/// If a value cannot be serialised, or writing fails.
pub fn write_json_lines<T: Serialize>(
    mut out: impl Write,
    values: impl IntoIterator<Item = T>,
) -> Result<(), OutputError> {
    for value in values {
        serde_json::to_writer(&mut out, &value)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}
