//! The operations that the forward pass is made of.
//!
//! Each file defines one operation in tensor operations, which every backend (and autodiff) can run. Where it
//! is faster, there is also a kernel for CPU tensors of the `flex` backend (`flex/`) or for GPUs (`gpu/`), which tests
//! compare with the definition. A kernel returns `None` for arguments that it does not support, such as tensors of other
//! backends, and then the definition runs.

mod attention;
mod cached_row;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod linear;
mod rms_norm;
mod rope;
mod rows;
mod swiglu;
#[cfg(all(test, feature = "flex"))]
mod tests;

pub(crate) use attention::{SLOTS_ABREAST, attention, cached_attention};
pub(crate) use cached_row::CachedRow;
pub(crate) use linear::linear;
pub(crate) use rms_norm::rms_norm;
pub(crate) use rope::rotate;
pub(crate) use rows::row_index;
pub use rows::{largest_in_rows, select_rows};
pub(crate) use swiglu::swiglu;
