//! Models with random weights.

use super::tensors::{Source, assemble, on_device};
use super::weights::narrow;
use crate::config::{ConfigError, LlamaConfig};
use crate::decoder::Llama;
use crate::device::WeightDtype;
use crate::format::{GgmlType, quantize_q8_0};
use crate::matrix::Matrix;
use crate::random;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

impl LlamaConfig {
    /// Makes a model with random weights. The same seed gives the same weights on every device.
    ///
    /// Matrices are drawn from a normal distribution with standard deviation `1/sqrt(in)`, biases from one with
    /// standard deviation 0.1; the weights of norms are 1. As nothing is stored, [`WeightDtype::Stored`] is `f32`.
    ///
    /// # Errors
    /// If the configuration is invalid.
    ///
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::tensor::Device;
    /// use dynlayer_model::config::LlamaConfig;
    /// use dynlayer_model::WeightDtype;
    ///
    /// let config = LlamaConfig::from_hf_json(
    ///     r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
    ///         "num_hidden_layers": 2, "num_attention_heads": 4}"#,
    ///     "an example",
    /// )?;
    /// let model = config.init(7, WeightDtype::F32, &Device::flex())?;
    /// assert_eq!(model.layers().len(), 2);
    /// # }
    /// # Ok::<(), dynlayer_model::config::ConfigError>(())
    /// ```
    pub fn init(&self, seed: u64, dtype: WeightDtype, device: &Device) -> Result<Llama, ConfigError> {
        self.validate()?;
        let Ok(model) = assemble(self, Random { rng: random::generator(random::WEIGHTS, seed), dtype, device });
        Ok(model)
    }
}

/// A source of random tensors.
struct Random<'a> {
    rng: ChaCha8Rng,
    dtype: WeightDtype,
    device: &'a Device,
}

impl Source for Random<'_> {
    type Vector = Param<Tensor<1>>;
    type Matrix = Matrix;
    type Error = Infallible;

    fn vector(&mut self, name: String, width: usize) -> Result<Param<Tensor<1>>, Infallible> {
        let values = match name.rsplit('.').next() {
            Some("bias") => (0..width).map(|_| standard_normal(&mut self.rng) * 0.1).collect(),
            _ => vec![1f32; width],
        };
        Ok(on_device(TensorData::new(values, [width]), self.device))
    }

    fn matrix(&mut self, _: String, shape: [usize; 2]) -> Result<Matrix, Infallible> {
        let [d_out, d_in] = shape;
        #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
        let scale = 1.0 / (d_in as f32).sqrt();
        let values: Vec<f32> = (0..d_out * d_in).map(|_| standard_normal(&mut self.rng) * scale).collect();
        if self.dtype == WeightDtype::Q8 {
            let mut bytes = Vec::new();
            quantize_q8_0(&values, &mut bytes);
            if let Ok(matrix) = Matrix::of_blocks(GgmlType::Q8_0, shape, bytes, self.device) {
                return Ok(matrix);
            }
            // The rows are not whole blocks.
        }
        let half = matches!(self.dtype, WeightDtype::F16 | WeightDtype::Q8);
        let (data, _) = narrow(values, &shape, half);
        Ok(on_device::<2>(data, self.device).into())
    }
}

/// Draws a standard normal number (Box and Muller 1958).
///
/// Public only for the other crates of the workspace; not part of the stable interface.
#[doc(hidden)]
pub fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (2.0 * std::f32::consts::PI * rng.random::<f32>()).cos()
}
