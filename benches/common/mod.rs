//! Code that the benches share: a model with SmolLM2's dimensions, options of the command line, and a summary of
//! samples.
//!
//! The model's weights are random, as the time of a pass does not depend on their values.

use burn::tensor::Device;
use dynlayer::model::config::{ConfigError, LlamaConfig};
use dynlayer::model::{Llama, WeightDtype};

const SMOLLM2: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": true}"#;

/// Returns a model with SmolLM2-135M's dimensions and random weights, on flex.
pub fn smollm2(dtype: WeightDtype) -> Result<Llama, ConfigError> {
    LlamaConfig::from_hf_json(SMOLLM2, "the bench")?.init(1, dtype, &Device::flex())
}

/// Returns the median, the least and the largest value.
pub fn spread(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

/// Returns the number that the command line gives after `name`, or `default`.
pub fn option(name: &str, default: usize) -> usize {
    text(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Returns what the command line gives after `name`.
pub fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
