//! The summary of the results, as text for a reader.

use crate::arguments::{Arguments, Metric};
use crate::results::{PREDICTOR, Results};
use dynlayer::metrics::baselines::{ComparisonRow, ControllerRow};
use dynlayer::metrics::statistics::Interval;
use std::fmt::Write;

/// Returns the summary as text.
pub fn text(arguments: &Arguments, results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, arguments, results);
    out
}

fn write(out: &mut String, arguments: &Arguments, results: &Results) -> std::fmt::Result {
    let Results { items, n_layers, full_quality, full_cost, least_cost, least_fraction, baselines, .. } = results;
    let cost = results.cost.words();
    writeln!(
        out,
        "{items} items, {} candidates, {n_layers} layers; control from {}",
        baselines.candidates, results.control_from
    )?;
    writeln!(out, "Quality: {}.", results.metric.words())?;
    let new_tokens = match arguments.metric {
        Metric::Nll => format!(", the reference's first {} tokens at most", results.max_new_tokens),
        Metric::RougeL | Metric::Agreement => format!(", at most {} new tokens", results.max_new_tokens),
    };
    let chat = if results.chat { ", prompts as chats" } else { "" };
    writeln!(out, "Cost: {cost}. KV policy {}{new_tokens}{chat}.\n", results.kv_policy)?;

    let widest = results.statics.iter().map(|one| one.candidate.len()).max().unwrap_or(0).max("one for all".len());
    writeln!(out, "{:widest$}  quality      cost  chosen by the oracle below", "one for all")?;
    for one in &results.statics {
        writeln!(out, "{:widest$}  {:7.4}  {:8.4}  {}", one.candidate, one.mean_quality, one.mean_cost, one.chosen)?;
    }
    writeln!(
        out,
        "\nThe full model reaches {full_quality:.4} at {full_cost:.4} {cost}. The oracle needs {least_cost:.4} {cost} \
         for the same quality: {:.1} % of the full model's cost. At that budget:\n",
        100.0 * least_fraction
    )?;
    writeln!(out, "{baselines}\n")?;
    reading(out, results)
}

/// Writes in words what the numbers mean and what they do not show.
fn reading(out: &mut String, results: &Results) -> std::fmt::Result {
    let baselines = &results.baselines;
    writeln!(out, "In words:")?;
    let oracle = baselines.oracle.quality.estimate;
    if let (Some(null), Some(mean)) = (baselines.null_best, baselines.null_mean) {
        let (cost, null, mean) = (null.mean_cost, null.quality.estimate, mean.quality.estimate);
        let verdict = if null >= oracle { "as much as the oracle or more" } else { "less than the oracle" };
        writeln!(
            out,
            "- Choosing the best of {} random routes of {cost:.2} layers by the same scores lifts their mean of \
             {mean:.4} to {null:.4}: {verdict}.",
            baselines.candidates
        )?;
    } else {
        writeln!(out, "- Without random routes, it is unknown how much is gained by choosing alone.")?;
    }
    match &baselines.cross_fitted {
        Some(row) => {
            writeln!(out, "- Chosen on one half of the score and judged on the other, the oracle {}.", gain(row))?;
        }
        None => writeln!(out, "- Without halves of the score, it is unknown how much of the oracle's gain is luck.")?,
    }
    if results.metric == Metric::RougeL && baselines.cross_fitted.is_some() {
        let full = results.full_halves.map_or_else(String::new, |full| format!("; the full model's reach {full:.4}"));
        writeln!(out, "  Its halves are sampled outputs, which differ in quality from greedy ones{full}.")?;
    }
    if let Some(row) = &baselines.label_free {
        writeln!(out, "- Chosen by the full model's own output and judged by the reference, it {}.", gain(row))?;
    }
    match baselines.controllers.iter().find(|row| row.name == PREDICTOR) {
        Some(row) => predictor(out, row, results)?,
        None => writeln!(out, "- There are too few items to train a prompt predictor.")?,
    }
    writeln!(
        out,
        "- The {} items are a sample: the intervals show the range of the numbers for other samples, not for other \
         models, data or candidates.",
        results.items
    )
}

/// Writes the sentence about the prompt predictor.
fn predictor(
    out: &mut String,
    ControllerRow { row, regret, .. }: &ControllerRow,
    results: &Results,
) -> std::fmt::Result {
    let beats = |gain: Option<Interval>| gain.is_some_and(|gain| gain.low > 0.0);
    let verdict = match (beats(row.gain), beats(row.over_mix)) {
        (true, true) => "beats the best single candidate and the best mix",
        (true, false) => "beats the best single candidate, but not reliably the best mix",
        (false, _) => "does not reliably beat the best single candidate",
    };
    write!(
        out,
        "- The prompt predictor (state entering layer {}, trained on other items) {verdict}: it {}",
        results.router_layer,
        gain(row)
    )?;
    match regret {
        Some(Interval { low, estimate, high }) => {
            writeln!(out, ", and stays {estimate:.4} [{low:.4}, {high:.4}] below the oracle at its own cost.")
        }
        None => writeln!(out, "."),
    }
}

/// Returns in words the gain of a row over the best single candidate and the best mix.
fn gain(row: &ComparisonRow) -> String {
    match (row.gain, row.over_mix) {
        (Some(single), Some(mix)) => {
            format!("gains {} over one candidate for all and {} over the best mix", amount(single), amount(mix))
        }
        _ => "has no single candidate within its budget to be compared with".to_owned(),
    }
}

fn amount(Interval { low, estimate, high }: Interval) -> String {
    let sure = if low > 0.0 {
        ""
    } else if high < 0.0 {
        " (a loss)"
    } else {
        " (not reliably different from zero)"
    };
    format!("{estimate:.4} [{low:.4}, {high:.4}]{sure}")
}
