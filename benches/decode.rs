//! Decode speed at full depth and with skipped layers, measured in turn in one process.
//!
//! Random weights in SmolLM2-135M's dimensions: the time of a pass does not depend on their values.
//!
//! ```text
//! cargo bench --bench decode [-- --rounds 8 --tokens 48]
//! ```

use burn::tensor::Device;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::{GenerateOptions, generate};
use dynlayer::model::config::LlamaConfig;
use dynlayer::model::{Llama, WeightDtype};

const SMOLLM2: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 100000.0, "tie_word_embeddings": true}"#;
const CONTROLLERS: [&str; 5] = ["full", "uniform:25", "uniform:20", "uniform:10", "exit:20"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (rounds, tokens) = (option("--rounds", 8), option("--tokens", 48));
    let config = LlamaConfig::from_hf_json(SMOLLM2, "the bench")?;
    println!("SmolLM2-135M's dimensions, flex, {} threads, batch 1, 32 prompt tokens, {tokens} new tokens", threads());
    for dtype in [WeightDtype::F32, WeightDtype::F16] {
        let model = config.init(1, dtype, &Device::flex())?;
        let mut seconds = vec![Vec::new(); CONTROLLERS.len()];
        for round in 0..=rounds {
            for (spec, seconds) in CONTROLLERS.iter().zip(&mut seconds) {
                let per_token = decode(&model, spec, tokens)?;
                if round > 0 {
                    seconds.push(per_token); // the first round warms up
                }
            }
        }
        let medians: Vec<f64> = seconds.iter_mut().map(|s| median(s)).collect();
        for ((spec, median), all) in CONTROLLERS.iter().zip(&medians).zip(&seconds) {
            let (ms, rate, ratio) = (median * 1e3, 1.0 / median, median / medians[0]);
            let (least, most) = (all[0] * 1e3, all[all.len() - 1] * 1e3);
            println!(
                "{dtype} {spec:11} {ms:7.2} ms per token ({least:.2} to {most:.2}), {rate:6.1} tokens/s, {ratio:.3} of full"
            );
        }
    }
    Ok(())
}

/// Seconds per decode pass.
fn decode(model: &Llama, spec: &str, tokens: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let prompt: Vec<u32> = (100..132).collect();
    let options = GenerateOptions { max_new_tokens: tokens + 1, ..GenerateOptions::default() };
    let (_, report) = generate(model, spec.parse::<ControllerSpec>()?.build(), &[prompt], options)?.finish()?;
    report.decode.tokens_per_second().map(|rate| 1.0 / rate).ok_or_else(|| "no decode pass".into())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn option(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
