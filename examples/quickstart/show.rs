//! The output to the terminal.

use super::measure::{Answers, Bench, Row};
use super::oracle::Oracle;
use dynlayer::inference::report::DepthMap;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::output::colours;
use dynlayer_tiny::Task;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

/// The controller whose depth map is shown.
const MAPPED: &str = "confidence:0.9";

pub fn table(out: &mut impl Write, rows: &[Row], bench: &Bench<'_>) -> io::Result<()> {
    let n = bench.problems.len();
    writeln!(
        out,
        "{n} held-out problems; every token of the answers comes from a controlled pass (last-prompt-token).\n"
    )?;
    writeln!(out, "{:28} {:>11} {:>13} {:>9}", "controller", "exact match", "layers/token", "speed-up")?;
    let full = rows.first().and_then(|row| row.seconds);
    for row in rows {
        let speed_up =
            full.zip(row.seconds).map_or("-".to_owned(), |(full, seconds)| format!("{:.2}x", full / seconds));
        writeln!(out, "{:28} {:>9.1} % {:>13.2} {speed_up:>9}", row.name, 100.0 * row.exact_match, row.depth)?;
    }
    writeln!(
        out,
        "\nSpeed-up: time per generated token at full depth over the controller's own, one problem at a time. A model this \
         small\nspends much of its time outside its layers, and a check of confidence is cheap with 31 tokens to choose from.\n\
         This model was trained for early exits, so they do better here than skipping; in models that were not, skipping\n\
         does better (see the example compare_controllers)."
    )
}

pub fn oracle(out: &mut impl Write, oracle: &Oracle) -> io::Result<()> {
    let Oracle { row, full: (quality, depth), best_static, .. } = oracle;
    writeln!(
        out,
        "\nThe oracle solves as many problems as the full model ({:.1} %) with {:.1} % of its layers per token.",
        100.0 * quality,
        100.0 * row.depth / depth
    )?;
    if let Some((name, exact_match)) = best_static {
        writeln!(
            out,
            "With at most as many layers, the best single candidate, {name}, solves {:.1} %.",
            100.0 * exact_match
        )?;
    }
    writeln!(
        out,
        "It knows which candidates solve each problem: it is a bound for controllers, not a controller. See docs/oracle.md."
    )
}

/// Shows one answer per task, each character shaded by the layers that it took, and writes them as an image.
pub fn depth_map(out: &mut impl Write, bench: &Bench<'_>, image: &Path) -> Result<(), Box<dyn Error>> {
    writeln!(out, "\nLayers per token of some answers under {MAPPED}:")?;
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
        let answer = if colours() { map.terminal() } else { map.plain() };
        writeln!(out, "  {:24} {answer}  {}", problem.prompt, depths.join(" "))?;
    }
    write_atomic(image, all.svg(36).as_bytes()).map_err(|error| format!("{}: {error}", image.display()))?;
    Ok(())
}
