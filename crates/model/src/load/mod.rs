//! Loading and saving models: from a folder or a GGUF file to a [`Llama`](crate::Llama), and back to a folder.

mod checkpoint;
mod error;
mod gguf_config;
mod gguf_names;
mod gguf_text;
mod init;
mod save;
mod tensors;
mod weights;

#[cfg(all(test, feature = "flex"))]
mod tests;

pub use checkpoint::Checkpoint;
pub use error::{LoadError, NamedShape, TensorMismatch};
#[doc(hidden)]
pub use init::standard_normal;
pub use save::SaveError;
pub use weights::Progress;
