//! From a folder or a GGUF file to a model.

mod assemble;
mod checkpoint;
mod dtype;
mod error;
mod expected;
mod generation_config;
mod gguf_config;
mod gguf_names;
mod gguf_text;
mod init;
mod progress;
mod save;
mod weights;

#[cfg(all(test, feature = "flex"))]
mod hostile_tests;
#[cfg(test)]
mod small_gguf;

pub use checkpoint::Checkpoint;
pub use dtype::{DtypeError, WeightDtype};
pub use error::{LoadError, NamedShape, TensorMismatch};
pub use progress::Progress;
pub use save::SaveError;
