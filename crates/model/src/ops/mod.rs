//! The operations that the forward pass is made of.
//!
//! Each file holds one operation twice: its definition in tensor operations, which every backend (and autodiff)
//! runs, and, where it pays, a kernel for CPU tensors of the `flex` backend, compared with the definition in a test.
//! The kernels take whatever of their arguments lies in plain `f32` memory and decline the rest by returning `None`.

mod attention;
#[cfg(feature = "flex")]
mod flex;
mod linear;
mod rms_norm;
mod rope;
mod rows;
mod swiglu;
#[cfg(all(test, feature = "flex"))]
mod tests;

pub(crate) use attention::attention;
pub(crate) use linear::linear;
pub(crate) use rms_norm::rms_norm;
pub(crate) use rope::rotate;
pub(crate) use rows::row_index;
pub use rows::select_rows;
pub(crate) use swiglu::swiglu;
