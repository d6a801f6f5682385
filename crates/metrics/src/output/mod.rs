//! Writing results as CSV and JSON.

mod atomic;
mod csv;
mod error;
mod json;

pub(crate) use atomic::write_atomic;
pub use csv::write_csv;
pub use error::OutputError;
pub use json::{write_json, write_json_lines};
