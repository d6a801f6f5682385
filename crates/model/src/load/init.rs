//! Models with random weights.

use super::tensors::assemble;
use super::weights::narrow;
use crate::config::{ConfigError, LlamaConfig};
use crate::decoder::Llama;
use crate::device::WeightDtype;
use burn::tensor::{Device, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

impl LlamaConfig {
    /// Makes a model with random weights: matrices normal with standard deviation `1/sqrt(in)`, norms 1, biases normal
    /// with standard deviation 0.1. The same seed gives the same weights on every device.
    ///
    /// # Errors
    /// If the configuration is not valid.
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
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let Ok(model) = assemble(self, device, |tensor| -> Result<TensorData, Infallible> {
            let n: usize = tensor.shape.iter().product();
            let data = match tensor.shape.as_slice() {
                [_, d_in] => {
                    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
                    let scale = 1.0 / (*d_in as f32).sqrt();
                    narrow((0..n).map(|_| standard_normal(&mut rng) * scale).collect(), &tensor.shape, dtype)
                }
                _ if tensor.name.rsplit('.').next() == Some("bias") => {
                    TensorData::new((0..n).map(|_| standard_normal(&mut rng) * 0.1).collect(), [n])
                }
                _ => TensorData::new(vec![1f32; n], [n]),
            };
            Ok(data)
        });
        Ok(model)
    }
}

/// Draws a standard normal number (Box and Muller 1958).
///
/// Public for the other crates of the workspace, and no part of the documented interface.
#[doc(hidden)]
pub fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (2.0 * std::f32::consts::PI * rng.random::<f32>()).cos()
}
