//! The crate against references that other programs computed; `tests/fixtures` holds the scripts that made them.
#![expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact")]

mod cost;
#[cfg(feature = "plot")]
mod plot;
#[cfg(feature = "tensors")]
mod tensors;
mod text;
