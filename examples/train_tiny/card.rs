//! The model's card and the curve of its training.

use super::arguments::Arguments;
use super::evaluate::Table;
use super::stage::stages;
use dynlayer::inference::training::StepReport;
use dynlayer::metrics::plot::{Curve, CurvePlot, Size};
use dynlayer::model::Llama;
use dynlayer::model::format::write_atomic;
use dynlayer_examples::output::warn;
use dynlayer_tiny::Problem;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// The depths whose loss the card and the curve show.
const DEPTHS: [usize; 4] = [2, 4, 8, 12];
/// The number of steps whose mean is a point of the curve.
const SMOOTHING: usize = 50;

/// Writes `README.md` and `loss.svg` beside the model. Without a log of steps, as after cloning, the card cannot
/// describe the training, and the existing files are kept.
pub fn write(arguments: &Arguments, model: &Llama, table: &Table) -> Result<(), Box<dyn Error>> {
    let mut steps: Vec<StepReport> = Vec::new();
    for stage in stages(arguments) {
        let log = stage.folder.join("steps.jsonl");
        let Ok(text) = std::fs::read_to_string(&log) else {
            warn(format_args!("no {}: the existing card is kept", log.display()));
            return Ok(());
        };
        for (number, line) in (1..).zip(text.lines()) {
            let report: StepReport = serde_json::from_str(line)
                .map_err(|error| format!("{}, line {number}: expected a step's report: {error}", log.display()))?;
            steps.push(StepReport { step: report.step + stage.after, ..report });
        }
    }
    let card = card(arguments, model, table, &steps)?;
    save(&arguments.out.join("README.md"), &card)?;
    save(&arguments.out.join("loss.svg"), &curve(&steps).svg(Size::default())?)
}

fn save(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    Ok(write_atomic(path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn card(arguments: &Arguments, model: &Llama, table: &Table, steps: &[StepReport]) -> Result<String, Box<dyn Error>> {
    let config = model.config();
    let parameters = {
        use dynlayer::burn::module::Module;
        model.num_params()
    };
    let Arguments { steps: n, more_steps, batch, rate, more_rate, dropout, exit_scale, seed, .. } = arguments;
    let hours = steps.iter().map(|step| step.seconds).sum::<f64>() / 3600.0;
    let mut out = String::new();
    writeln!(out, "# The embedded model\n")?;
    writeln!(
        out,
        "A Llama of {} layers, width {}, {} heads, {parameters} parameters, stored as f16. It was trained by this project, on \
         problems that this project generates (`crates/tiny/src/task.rs`), and is under the project's licence. It knows nothing \
         else.\n",
        config.n_layers, config.d_model, config.n_heads
    )?;
    writeln!(out, "| task | prompt | answer |\n|---|---|---|")?;
    for (task, _) in &table.rows {
        let Problem { prompt, answer, .. } = Problem::new(*task, *seed, 0, true);
        writeln!(out, "| {task} | `{prompt}` | `{answer}` |")?;
    }
    writeln!(out, "\n## Accuracy\n")?;
    writeln!(
        out,
        "Exact match in percent, {} held-out problems of each task, by how many of the first layers run (`exit:k`, \
         `ControlFrom::LastPromptToken`: every token of the answer comes from that depth). The mean over tasks at full depth \
         is {:.1} %. Held-out prompts are never seen in training, whatever the seed.\n",
        table.problems,
        100.0 * table.mean_at_full_depth()
    )?;
    writeln!(out, "{table}\n")?;
    writeln!(out, "## Training\n")?;
    writeln!(
        out,
        "```sh\ncargo run --release --example train_tiny -- --overwrite --steps {n} --more-steps {more_steps} --batch {batch} \\\n    --rate {rate} \
         --more-rate {more_rate} --dropout {dropout} --exit-scale {exit_scale} --seed {seed}\n```\n"
    )?;
    writeln!(
        out,
        "{hours:.2} hours on one core of two, other work beside it. `LayerSkip`'s recipe (Elhoushi et al. 2024, arXiv \
         2404.16710): layer dropout that grows with depth and over time, and a loss after every layer. {n} steps on all tasks but \
         follow-3, then {more_steps} on all, follow-3 in five of twelve problems, with a learning rate and an optimizer that \
         start anew.\n"
    )?;
    let columns = DEPTHS.map(|depth| format!("loss at exit:{depth}")).join(" | ");
    writeln!(out, "| step | {columns} |\n|---:|{}", "---:|".repeat(DEPTHS.len()))?;
    for (step, means) in smoothed(steps, (steps.len() / 12).max(1)) {
        writeln!(out, "| {step} | {} |", means.map(|loss| format!("{loss:.4}")).join(" | "))?;
    }
    writeln!(out, "\nEach row is the mean of the steps since the row before, in nats per token of the answers.\n")?;
    writeln!(out, "![Loss by step](loss.svg)")?;
    Ok(out)
}

fn curve(steps: &[StepReport]) -> CurvePlot {
    // So that a training of a few steps has a curve too.
    let points = smoothed(steps, SMOOTHING.min(steps.len() / 2).max(1));
    let curve = |i: usize| {
        Curve::new(format!("exit:{}", DEPTHS[i]), points.iter().map(|(step, means)| (*step as f64, means[i])))
    };
    CurvePlot {
        title: "Training of the embedded model".into(),
        x_label: "step".into(),
        y_label: "nats per token of the answers".into(),
        curves: (0..DEPTHS.len()).map(curve).collect(),
    }
}

/// Returns the means over every `n` steps, with the number of steps until then.
fn smoothed(steps: &[StepReport], n: usize) -> Vec<(u64, [f64; DEPTHS.len()])> {
    let mean = |chunk: &[StepReport], depth: usize| {
        let losses = chunk.iter().filter_map(|step| step.metrics.get(&format!("exit:{depth}")));
        losses.sum::<f64>() / chunk.len() as f64
    };
    steps.chunks_exact(n).map(|chunk| (chunk[n - 1].step + 1, DEPTHS.map(|depth| mean(chunk, depth)))).collect()
}
