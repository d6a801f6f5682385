//! Loading and saving models: from a folder or a GGUF file to a [`Llama`](crate::Llama), and back to a folder.

mod adapter;
mod checkpoint;
mod error;
mod folder;
mod gguf_config;
mod gguf_names;
mod gguf_text;
mod hf_names;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_error;
mod init;
mod save;
mod tensors;
mod warning;
mod weights;

#[cfg(all(test, feature = "flex"))]
mod tests;

pub use checkpoint::Checkpoint;
pub use error::{LoadError, NamedShape, TensorMismatch};
#[cfg(feature = "hub")]
pub use hub::{HubOptions, HubProgress};
#[cfg(feature = "hub")]
pub use hub_error::{HubError, HubErrorKind};
#[doc(hidden)]
pub use init::standard_normal;
pub use save::SaveError;
pub use warning::Warning;
pub use weights::Progress;
