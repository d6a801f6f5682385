//! Functions that read and check tensors, and their error.

use burn::tensor::Tensor;

/// The error for metrics that cannot be computed from tensors, or from losses computed from them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// A tensor is too small in some dimension, such as one without tokens.
    #[error("{what} has shape {shape:?}; every dimension must be at least {needed:?}")]
    Empty {
        /// The tensor's name.
        what: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// The smallest shape that is allowed.
        needed: Vec<usize>,
    },
    /// Two tensors, or a tensor and a list, differ in shape.
    #[error("{what}: found shape {found:?}, expected {expected:?}")]
    Shapes {
        /// The name of the second.
        what: &'static str,
        /// The second's shape.
        found: Vec<usize>,
        /// The first's shape.
        expected: Vec<usize>,
    },
    /// A metric is NaN or infinite, because of the input or because it is unbounded there.
    #[error("{what} of row {row} is {value}: the input holds NaN or infinite values, or the metric has no bound there")]
    NotFinite {
        /// The metric's name.
        what: &'static str,
        /// The row; with several layers, all tokens of the first, then those of the next.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A vector is zero and so has no direction, which the metric needs.
    #[error("the {what} of row {row} is a zero vector, which has no direction")]
    ZeroVector {
        /// The tensor's name.
        what: &'static str,
        /// The row; with several layers, all tokens of the first, then those of the next.
        row: usize,
    },
    /// A target is not in the vocabulary.
    #[error("target {target} of row {row} is not in the vocabulary of {vocab_size}")]
    Target {
        /// The row.
        row: usize,
        /// The token id.
        target: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// k is out of range.
    #[error("k is {k}; 1 to {vocab_size}, the vocabulary, are possible")]
    TopK {
        /// The k.
        k: usize,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// Reading from the device failed.
    #[error("reading from the device failed: {0}")]
    Device(String),
}

/// A tensor's values, row-major.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, TensorError> {
    let data = tensor.try_into_data().map_err(|error| TensorError::Device(error.to_string()))?;
    data.try_into_vec_as::<f64>().map_err(|error| TensorError::Device(error.to_string()))
}

/// A tensor's values, row-major. Returns an error if one is NaN or infinite.
pub(crate) fn read_finite<const D: usize>(what: &'static str, tensor: Tensor<D>) -> Result<Vec<f64>, TensorError> {
    let values = read(tensor)?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(TensorError::NotFinite { what, row, value: values[row] }),
        None => Ok(values),
    }
}

/// Returns an error if a tensor is smaller than `needed` in any dimension.
pub(crate) fn check_size<const D: usize>(
    what: &'static str,
    shape: [usize; D],
    needed: [usize; D],
) -> Result<(), TensorError> {
    if shape.iter().zip(needed).any(|(found, needed)| *found < needed) {
        return Err(TensorError::Empty { what, shape: shape.to_vec(), needed: needed.to_vec() });
    }
    Ok(())
}

/// Returns an error if two shapes differ.
pub(crate) fn check_same<const D: usize>(
    what: &'static str,
    found: [usize; D],
    expected: [usize; D],
) -> Result<(), TensorError> {
    if found == expected {
        return Ok(());
    }
    Err(TensorError::Shapes { what, found: found.to_vec(), expected: expected.to_vec() })
}
