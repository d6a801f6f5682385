//! Rotary position embedding: base and scaling.

use serde::{Deserialize, Serialize};

/// How positions become angles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeConfig {
    /// Base of the frequencies: pair `i` of a head turns by `theta^(-2 i / head_dim)` per position.
    pub theta: f64,
    /// How the frequencies were changed for a longer context.
    pub scaling: RopeScaling,
}

/// Changes of the rotary frequencies for a context longer than that of the first pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// Every frequency divided by `factor` (position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones kept, those between interpolated.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` count as low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` count as high frequencies.
        high_freq_factor: f64,
        /// Context length of the first pre-training.
        original_max_positions: usize,
    },
    /// Every frequency divided by its own number, as GGUF files store the scaling of Llama 3. `config.json` has no form
    /// for it.
    PerFrequency {
        /// One divisor per pair of head dimensions, so `head_dim / 2` of them.
        divisors: Vec<f32>,
    },
}
