//! Decode speed of batches: at full depth by the number of rows, and by the number of rows that skip layers under each
//! way of running rows that disagree ([`PartialSkips`]). The settings take turns in one process.
//!
//! ```text
//! cargo bench --bench batch [-- --rounds 3 --tokens 24]
//! ```

#[path = "common/mod.rs"]
mod common;

use common::{option, smollm2, spread};
use dynlayer::inference::{
    Action, Controller, Decision, GenerateOptions, PartialSkips, RunSettings, Site, controller_fn, generate,
};
use dynlayer::model::{Llama, WeightDtype, threads};
use std::error::Error;

const BATCHES: [u32; 5] = [1, 2, 4, 8, 16];
const SKIPS: [(&str, PartialSkips); 3] =
    [("run all", PartialSkips::RunAll), ("gather", PartialSkips::Gather), ("modelled", PartialSkips::Modelled)];

fn main() -> Result<(), Box<dyn Error>> {
    let (rounds, tokens) = (option("--rounds", 3), option("--tokens", 24));
    println!("SmolLM2-135M's dimensions, flex, {} threads, prompts of 64 tokens, {tokens} new tokens", threads());
    for dtype in [WeightDtype::F32, WeightDtype::F16] {
        let model = smollm2(dtype)?;
        println!("\n{dtype}, full depth\nrows  tokens/s in total (least to most)");
        let mut speeds = vec![Vec::new(); BATCHES.len()];
        for _ in 0..rounds {
            for (rows, speeds) in BATCHES.iter().zip(&mut speeds) {
                speeds.push(decode(&model, *rows, 0, PartialSkips::Modelled, tokens)?);
            }
        }
        for (rows, speeds) in BATCHES.iter().zip(&mut speeds) {
            let (middle, least, most) = spread(speeds);
            println!("{rows:4}  {middle:8.1} ({least:.1} to {most:.1})");
        }
        println!("\n{dtype}, 8 rows: tokens/s where the given number of rows skips every other layer");
        println!("skipping  run all   gather  modelled");
        for skipping in [0, 1, 2, 4, 6, 7, 8] {
            let mut speeds = vec![Vec::new(); SKIPS.len()];
            for _ in 0..rounds {
                for ((_, skips), speeds) in SKIPS.iter().zip(&mut speeds) {
                    speeds.push(decode(&model, 8, skipping, *skips, tokens)?);
                }
            }
            let middles: Vec<String> = speeds.iter_mut().map(|s| format!("{:8.1}", spread(s).0)).collect();
            println!("{skipping:8}  {}", middles.join(" "));
        }
    }
    Ok(())
}

/// Measures the tokens per second of all rows together.
fn decode(model: &Llama, rows: u32, skipping: u64, skips: PartialSkips, tokens: usize) -> Result<f64, Box<dyn Error>> {
    let prompts: Vec<Vec<u32>> = (0..rows).map(|row| (row * 1000..row * 1000 + 64).collect()).collect();
    let options = GenerateOptions {
        run: RunSettings { partial_skips: skips, ..RunSettings::default() },
        max_new_tokens: tokens + 1,
        ..GenerateOptions::default()
    };
    let (_, report) = generate(model, every_other(skipping), &prompts, options)?.finish()?;
    report.decode.tokens_per_second().ok_or_else(|| "no decode pass".into())
}

/// Returns a controller under which the first `skipping` rows skip every other layer.
fn every_other(skipping: u64) -> impl Controller {
    controller_fn(move |site: &Site<'_>| {
        let skips = |id: u64| id < skipping && site.layer() % 2 == 1;
        Decision::per_row(site.rows().iter().map(|row| if skips(row.id) { Action::Skip } else { Action::Run }))
    })
}
