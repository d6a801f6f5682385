//! Overhead of the engine: a controller that always answers `Run` against a plain forward loop, in turn in one process.
//!
//! ```text
//! cargo bench --bench overhead [-- --rounds 12 --tokens 64]
//! ```

#[path = "common/mod.rs"]
mod common;

use common::{option, smollm2, spread};
use dynlayer::inference::{Action, GenerateOptions, controller_fn, generate};
use dynlayer::model::{Llama, WeightDtype, threads};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, tokens) = (option("--rounds", 12), option("--tokens", 64));
    let prompt: Vec<u32> = (100..132).collect();
    println!("SmolLM2-135M's dimensions, flex, {} threads, batch 1, 32 prompt tokens, {tokens} new tokens", threads());
    for dtype in [WeightDtype::F32, WeightDtype::F16] {
        let model = smollm2(dtype)?;
        let (mut plain, mut engine, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            for (a, b) in side_by_side(&model, &prompt, tokens)? {
                if round > 0 {
                    plain.push(a);
                    engine.push(b);
                    ratio.push(b / a);
                }
            }
        }
        let ((plain, ..), (engine, ..)) = (spread(&mut plain), spread(&mut engine));
        let middle = spread(&mut ratio).0;
        let (least, most) = (ratio[ratio.len() / 4], ratio[ratio.len() * 3 / 4]);
        println!(
            "{dtype} plain loop {:.3} ms per token, engine {:.3} ms: ratio of the medians {:.4}; of two neighbouring \
             passes: median {middle:.4}, quartiles {least:.4} to {most:.4}, {} pairs",
            plain * 1e3,
            engine * 1e3,
            engine / plain,
            ratio.len()
        );
    }
    Ok(())
}

/// Measures the seconds of each decode pass of a plain greedy loop over the model's pieces, and of the engine's pass
/// for the same token. The passes take turns, so that a machine that is slower for a while slows down both.
fn side_by_side(model: &Llama, prompt: &[u32], tokens: usize) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let options = GenerateOptions { max_new_tokens: tokens + 1, ..GenerateOptions::default() };
    let mut engine = generate(model, controller_fn(|_| Action::Run), &[prompt.to_vec()], options)?;
    engine.next().ok_or("no first token")??;

    let mut cache = model.cache(1, prompt.len() + tokens);
    let frame = model.frame(&cache, &[0], &[(0..prompt.len()).collect()]);
    let hidden = model.forward(model.tokens(&[prompt]), &frame, &mut cache);
    let mut next = best(model, hidden.narrow(1, prompt.len() - 1, 1))?;
    let mut seconds = Vec::with_capacity(tokens);
    for position in prompt.len()..prompt.len() + tokens {
        let mut pass_of_the_engine = || -> Result<f64, Box<dyn Error>> {
            let started = Instant::now();
            engine.next().ok_or("the engine stopped early")??;
            Ok(started.elapsed().as_secs_f64())
        };
        // The order changes with every token.
        let first = if position % 2 == 0 { Some(pass_of_the_engine()?) } else { None };
        let started = Instant::now();
        let frame = model.frame(&cache, &[0], &[vec![position]]);
        next = best(model, model.forward(model.tokens(&[&[next]]), &frame, &mut cache))?;
        let plain = started.elapsed().as_secs_f64();
        let engine = if let Some(first) = first { first } else { pass_of_the_engine()? };
        seconds.push((plain, engine));
    }
    Ok(seconds)
}

fn best(model: &Llama, hidden: burn::tensor::Tensor<3>) -> Result<u32, Box<dyn Error>> {
    let logits = model.logits(hidden).try_into_data().map_err(|error| format!("{error:?}"))?;
    let logits = logits.try_into_vec_as::<f32>().map_err(|error| format!("{error:?}"))?;
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Ok(u32::try_from(logits.iter().position(|x| *x >= most).unwrap_or(0))?)
}
