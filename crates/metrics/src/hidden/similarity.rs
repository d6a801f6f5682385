//! Cosine similarity and relative error.

use crate::numbers::ToF64;
use crate::tensors::{check_same, check_size, read};
use crate::{Grid, TensorError};
use burn::tensor::{DType, Tensor};

/// Cosine similarity of states to reference states, per layer (row) and token (column), from -1 to 1:
/// x·r / (|x| |r|).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dynlayer_metrics::hidden::cosine_similarity;
///
/// let device = Device::flex();
/// let states = Tensor::from_floats([[[1.0, 0.0], [1.0, 1.0]]], &device); // one layer, two tokens
/// let reference = Tensor::from_floats([[[2.0, 0.0], [0.0, 3.0]]], &device);
/// let similarity = cosine_similarity(&states, &reference)?;
/// assert!((similarity.get(0, 1).unwrap() - 0.5_f64.sqrt()).abs() < 1e-6);
/// # Ok::<(), dynlayer_metrics::TensorError>(())
/// ```
///
/// # Shapes
/// - `states`, `reference`: `[layers, tokens, d_model]`
///
/// # Errors
///
/// [`TensorError::Empty`] and [`TensorError::Shapes`] for empty or different shapes, [`TensorError::ZeroVector`] and
/// [`TensorError::NotFinite`] for vectors without a direction.
pub fn cosine_similarity(states: &Tensor<3>, reference: &Tensor<3>) -> Result<Grid, TensorError> {
    check(states, reference)?;
    let [layers, tokens, _] = states.dims();
    let ((x, x_scale), (r, r_scale)) = (scaled(states), scaled(reference));
    let cosine = (x.clone() * r.clone()).sum_dim(2) / (norm(x) * norm(r));
    let values = read(Tensor::cat(vec![cosine, x_scale, r_scale], 2))?;
    let mut cosines = Vec::with_capacity(layers * tokens);
    for (row, value) in values.chunks(3).enumerate() {
        cosines.push(match *value {
            [_, 0.0, _] => return Err(TensorError::ZeroVector { what: "state", row }),
            [_, _, 0.0] => return Err(TensorError::ZeroVector { what: "reference state", row }),
            [cosine, ..] if cosine.is_finite() => cosine.clamp(-1.0, 1.0),
            _ => return Err(TensorError::NotFinite { what: "cosine similarity", row, value: value[0] }),
        });
    }
    Ok(Grid::from_values(&cosines, tokens))
}

/// Relative error of states against reference states, per layer (row) and token (column): |x - r| / |r|.
///
/// # Shapes
/// - `states`, `reference`: `[layers, tokens, d_model]`
///
/// # Errors
///
/// The same as for [`cosine_similarity`], except that states may be zero; reference states may not.
pub fn relative_error(states: &Tensor<3>, reference: &Tensor<3>) -> Result<Grid, TensorError> {
    check(states, reference)?;
    let tokens = states.dims()[1];
    let (r, scale) = scaled(reference);
    let x = states.clone().cast(DType::F32) / scale.clone();
    let error = norm(x - r.clone()) / norm(r);
    let values = read(Tensor::cat(vec![error, scale], 2))?;
    let mut errors = Vec::with_capacity(values.len() / 2);
    for (row, value) in values.chunks(2).enumerate() {
        errors.push(match *value {
            [_, 0.0] => return Err(TensorError::ZeroVector { what: "reference state", row }),
            [error, _] if error.is_finite() => error,
            _ => return Err(TensorError::NotFinite { what: "relative error", row, value: value[0] }),
        });
    }
    Ok(Grid::from_values(&errors, tokens))
}

/// Cosine similarity of every layer's states to those of every other layer, averaged over tokens: `[layers, layers]`,
/// symmetric, with 1 on the diagonal.
///
/// # Shapes
/// - `states`: `[layers, tokens, d_model]`
///
/// # Errors
///
/// [`TensorError::Empty`] for an empty shape, [`TensorError::ZeroVector`] and [`TensorError::NotFinite`] for vectors
/// without a direction.
pub fn similarity_matrix(states: &Tensor<3>) -> Result<Grid, TensorError> {
    // Returns an error for zero and NaN vectors, which the products below would spread over the matrix.
    cosine_similarity(states, states)?;
    let [layers, tokens, d_model] = states.dims();
    let x = scaled(states).0;
    let unit = (x.clone() / norm(x)).reshape([layers, tokens * d_model]);
    let means = unit.clone().matmul(unit.transpose()) / tokens.to_f64();
    let values: Vec<f64> = read(means)?.into_iter().map(|mean| mean.clamp(-1.0, 1.0)).collect();
    Ok(Grid::from_values(&values, layers))
}

fn check(states: &Tensor<3>, reference: &Tensor<3>) -> Result<(), TensorError> {
    check_size("states", states.dims(), [1, 1, 1])?;
    check_same("reference states", reference.dims(), states.dims())
}

/// Divides every vector by its largest absolute value, so that squares stay in the range of `f32`. Returns the divided
/// vectors, and the values that they were divided by, `[layers, tokens, 1]`.
fn scaled(states: &Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let states = states.clone().cast(DType::F32);
    let scale = states.clone().abs().max_dim(2); // [layers, tokens, 1]
    (states / scale.clone(), scale)
}

/// Euclidean norms of vectors: `[layers, tokens, d_model]` to `[layers, tokens, 1]`.
fn norm(states: Tensor<3>) -> Tensor<3> {
    states.square().sum_dim(2).sqrt()
}
