//! Code that the examples share: opening a model, texts to measure on, and errors printed with their causes.
#![forbid(unsafe_code)]

pub mod calibration;
pub mod embedded;
mod errors;
mod load;
mod texts;
pub mod tiny_task;

pub use errors::main_of;
pub use load::{Loaded, progress_bar};
pub use texts::items;
