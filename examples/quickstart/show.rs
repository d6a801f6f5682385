//! The output to the terminal.

use super::measure::{Answers, Bench, Row};
use super::oracle::Oracle;
use dynlayer::inference::report::DepthMap;
use dynlayer_tiny::Task;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;

/// The controller whose depth map is shown.
const MAPPED: &str = "confidence:0.9";

pub fn table(rows: &[Row], bench: &Bench<'_>) {
    let n = bench.problems.len();
    println!("{n} held-out problems; every token of the answers comes from a controlled pass (last-prompt-token).\n");
    println!("{:28} {:>11} {:>13} {:>9}", "controller", "exact match", "layers/token", "speed-up");
    let full = rows.first().and_then(|row| row.seconds);
    for row in rows {
        let speed_up =
            full.zip(row.seconds).map_or("-".to_owned(), |(full, seconds)| format!("{:.2}x", full / seconds));
        println!("{:28} {:>9.1} % {:>13.2} {speed_up:>9}", row.name, 100.0 * row.exact_match, row.depth);
    }
    println!(
        "\nSpeed-up: time per generated token at full depth over the controller's own, one problem at a time. A model this \
         small\nspends much of its time outside its layers, and a check of confidence is cheap with 31 tokens to choose from.\n\
         This model was trained for early exits, so they do better here than skipping; in models that were not, skipping\n\
         does better (see the example compare_controllers)."
    );
}

pub fn oracle(oracle: &Oracle) {
    let Oracle { row, full: (quality, depth), best_static, .. } = oracle;
    println!(
        "\nThe oracle solves as many problems as the full model ({:.1} %) with {:.1} % of its layers per token.",
        100.0 * quality,
        100.0 * row.depth / depth
    );
    if let Some((name, exact_match)) = best_static {
        println!(
            "With at most as many layers, the best single candidate, {name}, solves {:.1} %.",
            100.0 * exact_match
        );
    }
    println!(
        "It knows which candidates solve each problem: it is a bound for controllers, not a controller. See docs/oracle.md."
    );
}

/// Shows one answer per task, each character shaded by the layers that it took, and writes them as an image.
pub fn depth_map(bench: &Bench<'_>, image: &Path) -> Result<(), Box<dyn Error>> {
    println!("\nLayers per token of some answers under {MAPPED}:");
    let of_task = bench.problems.len() / Task::ALL.len();
    let mut all = DepthMap::default();
    for (i, problem) in bench.problems.iter().enumerate().step_by(of_task) {
        let controller = MAPPED.parse::<dynlayer::inference::controllers::ControllerSpec>()?;
        let Answers { completions, .. } = bench.generate(&[i], controller.build(bench.model, &bench.resources)?)?;
        let mut map = DepthMap::default();
        all.push_given(&format!("{:24} ", problem.prompt));
        let mut depths = Vec::new();
        for completion in &completions {
            for (token, route) in completion.tokens.iter().zip(&completion.routes) {
                // The token that ends the answer has no text.
                let text = bench.tokenizer.decode(&[*token], true)?;
                let text = if text.is_empty() { "." } else { &text };
                map.push(text, route);
                all.push(text, route);
                depths.push(format!("{:.0}", route.depth()));
            }
        }
        all.push_given("\n");
        let plain = || completions.iter().map(|completion| completion.text.clone() + ".").collect();
        let answer: String = if std::io::stdout().is_terminal() { map.terminal() } else { plain() };
        println!("  {:24} {answer}  {}", problem.prompt, depths.join(" "));
    }
    std::fs::write(image, all.svg(36)).map_err(|error| format!("{}: {error}", image.display()))?;
    Ok(())
}
