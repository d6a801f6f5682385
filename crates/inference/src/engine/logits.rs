//! The one host read of a pass.

use crate::generation::GenerateError;
use burn::tensor::Tensor;

/// Brings logits to the host, row by row one after another.
pub(crate) fn read_logits(logits: &Tensor<3>) -> Result<Vec<f32>, GenerateError> {
    let failed = |error: &dyn std::fmt::Debug| GenerateError::Device(format!("{error:?}"));
    let data = logits.clone().try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}
