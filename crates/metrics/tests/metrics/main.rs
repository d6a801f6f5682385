//! The crate against references that others computed. The fixtures' folder holds the scripts that made them.
#![expect(clippy::float_cmp, reason = "where tests compare exactly, the numbers are exact")]

mod cost;
#[cfg(feature = "plot")]
mod plot;
mod tensors;
mod text;
