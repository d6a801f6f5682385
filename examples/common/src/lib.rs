//! Code that the examples share: loading a model, texts to measure on, command lines, output, Ctrl-C, errors printed
//! with their causes, and a study of whether hidden states help a router.
#![forbid(unsafe_code)]
#![allow(clippy::missing_errors_doc, reason = "the errors are texts for the user of an example")]

pub mod arguments;
pub mod calibration;
pub mod certificates;
pub mod comparison;
pub mod data;
pub mod embedded;
mod errors;
pub mod evidence;
pub mod interrupt;
mod load;
pub mod oracle_report;
pub mod output;
mod progress;
mod prompts;
pub mod shards;
pub mod speculation;
pub mod stored;
pub mod study;
pub mod text_task;
mod texts;
pub mod tiny_task;

pub use errors::{chain, main_of};
pub use load::{Loaded, open_device, weight_type, weights};
pub use progress::progress_bar;
pub use prompts::PromptForm;
pub use texts::{Lengths, described, items, read_text};
