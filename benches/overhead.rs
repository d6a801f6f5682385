//! What the engine costs: a controller that always answers `Run` against the plain forward loop, in turn in one process.
//!
//! ```text
//! cargo bench --bench overhead [-- --rounds 20 --tokens 32]
//! ```

#[path = "common/mod.rs"]
mod common;

use common::{option, smollm2, spread, threads};
use dynlayer::inference::{Action, GenerateOptions, controller_fn, generate};
use dynlayer::model::{Llama, WeightDtype};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, tokens) = (option("--rounds", 20), option("--tokens", 32));
    let prompt: Vec<u32> = (100..132).collect();
    println!("SmolLM2-135M's dimensions, flex, {} threads, batch 1, 32 prompt tokens, {tokens} new tokens", threads());
    for dtype in [WeightDtype::F32, WeightDtype::F16] {
        let model = smollm2(dtype)?;
        let (mut plain, mut engine, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            // Whoever goes first in a round changes with every round.
            let (a, b) = if round % 2 == 0 {
                let a = plain_loop(&model, &prompt, tokens)?;
                (a, through_the_engine(&model, &prompt, tokens)?)
            } else {
                let b = through_the_engine(&model, &prompt, tokens)?;
                (plain_loop(&model, &prompt, tokens)?, b)
            };
            if round > 0 {
                plain.push(a);
                engine.push(b);
                ratio.push(b / a);
            }
        }
        let ((plain, ..), (engine, ..)) = (spread(&mut plain), spread(&mut engine));
        let (middle, least, most) = (spread(&mut ratio).0, ratio[rounds / 4], ratio[rounds * 3 / 4]);
        println!(
            "{dtype} plain loop {:.3} ms per token, engine {:.3} ms; ratio of the two in a round: median {middle:.4}, \
             quartiles {least:.4} to {most:.4}",
            plain * 1e3,
            engine * 1e3
        );
    }
    Ok(())
}

/// Seconds per decode pass of a loop without an engine: greedy, from the model's own pieces.
fn plain_loop(model: &Llama, prompt: &[u32], tokens: usize) -> Result<f64, Box<dyn Error>> {
    let mut cache = model.cache(1, prompt.len() + tokens);
    let frame = model.frame(&cache, &[(0..prompt.len()).collect()], &[0]);
    let hidden = model.forward(model.tokens(&[prompt]), &frame, &mut cache);
    let mut next = best(model, hidden.narrow(1, prompt.len() - 1, 1))?;
    let started = Instant::now();
    for position in prompt.len()..prompt.len() + tokens {
        let frame = model.frame(&cache, &[vec![position]], &[0]);
        next = best(model, model.forward(model.tokens(&[&[next]]), &frame, &mut cache))?;
    }
    Ok(started.elapsed().as_secs_f64() / f64::from(u32::try_from(tokens)?))
}

fn best(model: &Llama, hidden: burn::tensor::Tensor<3>) -> Result<u32, Box<dyn Error>> {
    let logits = model.logits(hidden).try_into_data().map_err(|error| format!("{error:?}"))?;
    let logits = logits.try_into_vec_as::<f32>().map_err(|error| format!("{error:?}"))?;
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Ok(u32::try_from(logits.iter().position(|x| *x >= most).unwrap_or(0))?)
}

fn through_the_engine(model: &Llama, prompt: &[u32], tokens: usize) -> Result<f64, Box<dyn Error>> {
    let controller = controller_fn(|_| Action::Run.into());
    let options = GenerateOptions { max_new_tokens: tokens + 1, ..GenerateOptions::default() };
    let (_, report) = generate(model, controller, &[prompt.to_vec()], options)?.finish()?;
    report.decode.tokens_per_second().map(|rate| 1.0 / rate).ok_or_else(|| "no decode pass".into())
}
