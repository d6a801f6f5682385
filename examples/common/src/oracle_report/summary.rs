//! The summary of the results, as text for a reader.

use super::results::{PREDICTOR, Results};
use crate::evidence::Metric;
use dynlayer::metrics::baselines::{ComparisonRow, ControllerRow};
use dynlayer::metrics::statistics::Interval;
use std::fmt::Write;

/// Returns the summary as text.
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, results);
    out
}

fn write(out: &mut String, results: &Results) -> std::fmt::Result {
    let Results { items, left_out, n_layers, full_quality, full_cost, least_cost, baselines, .. } = results;
    let cost = results.cost.words();
    let without = if *left_out > 0 { format!(" ({left_out} more do not fit the context)") } else { String::new() };
    writeln!(
        out,
        "{items} items{without}, {} candidates, {n_layers} layers; control from {}",
        baselines.candidates, results.control_from
    )?;
    writeln!(out, "Quality: {}.", results.metric.words())?;
    let new_tokens = match results.metric {
        Metric::Nll => format!(", the reference's first {} tokens at most", results.max_new_tokens),
        Metric::RougeL | Metric::Exact | Metric::Agreement => {
            format!(", at most {} new tokens", results.max_new_tokens)
        }
    };
    let chat = if results.chat { ", prompts as chats" } else { "" };
    writeln!(out, "Cost: {cost}. KV policy {}{new_tokens}{chat}.\n", results.kv_policy)?;

    let widest = results.statics.iter().map(|one| one.candidate.len()).max().unwrap_or(0).max("one for all".len());
    writeln!(out, "{:widest$}  quality      cost  chosen by the oracle below", "one for all")?;
    for one in &results.statics {
        writeln!(out, "{:widest$}  {:7.4}  {:8.4}  {}", one.candidate, one.mean_quality, one.mean_cost, one.chosen)?;
    }
    write!(out, "\nThe full model reaches {full_quality:.4} at {full_cost:.4} {cost}. ")?;
    if let Some(why) = results.says_nothing {
        writeln!(
            out,
            "But {why}: this metric does not tell here how many layers are enough. The oracle merely takes the \
             cheapest candidate for every item, {least_cost:.4} {cost}. At that budget:\n"
        )?;
        return writeln!(out, "{baselines}");
    }
    writeln!(
        out,
        "The oracle needs {least_cost:.4} {cost} for the same quality: {:.1} % of the full model's cost. At that \
         budget:\n",
        100.0 * least_cost / full_cost
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
            let (halved, all) = (baselines.with_halves, baselines.sequences);
            let these = if halved < all { format!(" over the {halved} items that have halves") } else { String::new() };
            writeln!(
                out,
                "- Chosen on one half of the score and judged on the other, the oracle {}{these}.",
                gain(row)
            )?;
        }
        None => writeln!(
            out,
            "- Without halves of the score within the budget, it is unknown how much of the oracle's gain is luck."
        )?,
    }
    if results.metric.reads_outputs() && baselines.cross_fitted.is_some() {
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
    if results.items == 1 {
        return writeln!(out, "- One item is no sample: nothing is known about other items.");
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
        Some(regret) => writeln!(out, ", and stays {regret} below the oracle at its own cost."),
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

fn amount(gain: Interval) -> String {
    let sure = if !gain.is_known() || gain.low > 0.0 {
        ""
    } else if gain.high < 0.0 {
        " (a loss)"
    } else {
        " (not reliably different from zero)"
    };
    format!("{gain}{sure}")
}
