//! Code that the examples share: opening a model, texts to measure on, errors printed with their causes, and the study
//! whether hidden states help a router.
#![forbid(unsafe_code)]

pub mod calibration;
pub mod embedded;
mod errors;
mod load;
pub mod study;
mod texts;
pub mod tiny_task;

pub use errors::main_of;
pub use load::{Loaded, progress_bar};
pub use texts::items;
