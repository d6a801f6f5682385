//! Speculation: controllers that only draft, and the full model's answers.

use super::measure::Bench;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::{SequenceOptions, SessionOptions, Speculation};
use dynlayer_examples::speculation::{Prompts, SpeculationRow};
use dynlayer_tiny::Task;
use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;

/// The controllers that draft.
const DRAFTERS: [&str; 2] = ["exit:3", "confidence:0.9"];

/// Runs all problems one at a time with and without speculation, and shows answers and times.
pub fn table(out: &mut impl Write, bench: &Bench<'_>) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "\nWith speculation a controller only drafts tokens, and the full model checks them: the answers are its own.\n"
    )?;
    writeln!(
        out,
        "{:16} {:20} {:>11} {:>9} {:>12} {:>9}",
        "drafter", "tasks", "exact match", "accepted", "tokens/round", "speed-up"
    )?;
    let easy = |task| matches!(task, Task::Sort | Task::Copy | Task::Reverse);
    for drafter in DRAFTERS {
        let spec: ControllerSpec = drafter.parse()?;
        for (name, wanted) in [("sort, copy, reverse", true), ("all others", false)] {
            let of: Vec<usize> =
                (0..bench.problems.len()).filter(|i| easy(bench.problems[*i].task) == wanted).collect();
            let prompts: Vec<Vec<u32>> = of.iter().map(|i| bench.prompt(*i).to_vec()).collect();
            let prompts = Prompts {
                name,
                prompts: &prompts,
                batch: NonZeroUsize::MIN,
                repeat: NonZeroUsize::MIN,
                session: SessionOptions { speculation: Some(Speculation::default()), ..SessionOptions::default() },
                sequence: SequenceOptions {
                    max_new_tokens: 12,
                    stop_tokens: bench.tokenizer.eos_id().into_iter().collect(),
                    ..SequenceOptions::default()
                },
            };
            let controller = || Ok(spec.build(bench.model, &bench.resources)?);
            let SpeculationRow { report, continuations, speed_up, .. } =
                prompts.compare(bench.model, drafter, controller)?;
            let mut solved = 0;
            for (i, tokens) in of.iter().zip(continuations) {
                solved += usize::from(bench.problems[*i].solved_by(&bench.tokenizer.decode(&tokens, true)?));
            }
            let exact_match = 100.0 * solved as f64 / of.len().max(1) as f64;
            let percent = report.acceptance().map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
            let per_round = report.tokens_per_round().unwrap_or_default();
            writeln!(
                out,
                "{drafter:16} {name:20} {exact_match:>9.1} % {percent:>9} {per_round:>12.2} {speed_up:>8.2}x"
            )?;
        }
    }
    writeln!(out, "\nWhere drafting does not pay, it switches itself off. See docs/speculation.md.")?;
    Ok(())
}
