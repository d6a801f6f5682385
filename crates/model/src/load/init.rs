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
    /// Makes a model with random weights. The same seed gives the same weights on every device.
    ///
    /// Matrices are drawn from a normal distribution with standard deviation `1/sqrt(in)`, biases from one with
    /// standard deviation 0.1; the weights of norms are 1.
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
        let mut rng = generator(seed);
        let Ok(model) = assemble(self, device, |tensor| -> Result<TensorData, Infallible> {
            let n: usize = tensor.shape.iter().product();
            let data = match tensor.shape.as_slice() {
                [_, d_in] => {
                    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
                    let scale = 1.0 / (*d_in as f32).sqrt();
                    narrow((0..n).map(|_| standard_normal(&mut rng) * scale).collect(), &tensor.shape, dtype).0
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

/// The generator of a seed's weights. It is derived as all random draws of dynlayer are (`dynlayer_metrics::random`,
/// which this crate does not depend on), so no other draw from an equal seed shares it.
fn generator(seed: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(b"weights\0");
    ChaCha8Rng::from_seed(key)
}

/// Draws a standard normal number (Box and Muller 1958).
///
/// Public only for the other crates of the workspace; not part of the stable interface.
#[doc(hidden)]
pub fn standard_normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (2.0 * std::f32::consts::PI * rng.random::<f32>()).cos()
}
