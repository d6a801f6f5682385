//! Decode speed at full depth and with skipped layers. The controllers take turns in one process.
//!
//! ```text
//! cargo bench --bench decode [-- --rounds 8 --tokens 48 --model FILE.gguf]
//! ```
//!
//! A file is measured as it is stored, after SmolLM2's dimensions with random weights.

#[path = "common/mod.rs"]
mod common;

use burn::tensor::Device;
use common::{option, smollm2, spread, text};
use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::{GenerateOptions, generate};
use dynlayer::model::{Checkpoint, Llama, WeightDtype, threads};

const CONTROLLERS: [&str; 5] = ["full", "uniform:25", "uniform:20", "uniform:10", "exit:20"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (rounds, tokens) = (option("--rounds", 8), option("--tokens", 48));
    println!("SmolLM2-135M's dimensions, flex, {} threads, batch 1, 32 prompt tokens, {tokens} new tokens", threads());
    let file = text("--model");
    let dtypes = [WeightDtype::F32, WeightDtype::F16, WeightDtype::Q8];
    for dtype in dtypes.into_iter().chain(file.as_ref().map(|_| WeightDtype::Stored)) {
        let model = match &file {
            Some(file) if dtype == WeightDtype::Stored => {
                Checkpoint::open(file)?.load(dtype, &Device::flex(), |_| ())?
            }
            _ => smollm2(dtype)?,
        };
        let mut seconds = vec![Vec::new(); CONTROLLERS.len()];
        for round in 0..=rounds {
            for (spec, seconds) in CONTROLLERS.iter().zip(&mut seconds) {
                let per_token = decode(&model, spec, tokens)?;
                if round > 0 {
                    seconds.push(per_token); // the first round warms up
                }
            }
        }
        let full = spread(&mut seconds[0]).0;
        for (spec, seconds) in CONTROLLERS.iter().zip(&mut seconds) {
            let (median, least, most) = spread(seconds);
            let (ms, rate, ratio, least, most) = (median * 1e3, 1.0 / median, median / full, least * 1e3, most * 1e3);
            println!(
                "{dtype} {spec:11} {ms:7.2} ms per token ({least:.2} to {most:.2}), {rate:6.1} tokens/s, {ratio:.3} of full"
            );
        }
    }
    Ok(())
}

/// Measures the seconds per decode pass.
fn decode(model: &Llama, spec: &str, tokens: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let prompt: Vec<u32> = (100..132).collect();
    let options = GenerateOptions { max_new_tokens: tokens + 1, ..GenerateOptions::default() };
    let controller = spec.parse::<ControllerSpec>()?.build(model, &Resources::new())?;
    let (_, report) = generate(model, controller, &[prompt], options)?.finish()?;
    report.decode.tokens_per_second().map(|rate| 1.0 / rate).ok_or_else(|| "no decode pass".into())
}
