//! What the examples share: getting a model, texts to measure on, and errors with their causes.
#![allow(dead_code, unused_imports, reason = "every example compiles this for itself and uses a part of it")]

pub mod calibration;
pub mod embedded;
mod errors;
mod load;
mod texts;

pub use errors::main_of;
pub use load::{Loaded, progress_bar};
pub use texts::items;
