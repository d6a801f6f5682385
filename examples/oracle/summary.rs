//! The results in words.

use crate::arguments::{Arguments, Metric};
use crate::results::{ROUTER, Results};
use dynlayer::inference::oracle::{ControlRow, ControllerRow, Interval};
use std::fmt::Write;

/// The whole summary.
pub fn text(arguments: &Arguments, results: &Results) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = write(&mut out, arguments, results);
    out
}

fn write(out: &mut String, arguments: &Arguments, results: &Results) -> std::fmt::Result {
    let Results { items, n_layers, full_quality, full_cost, least_cost, least_fraction, controls, .. } = results;
    let cost = results.cost.words();
    writeln!(
        out,
        "{items} items, {} candidates, {n_layers} layers; control from {}",
        controls.candidates, results.control_from
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
        "\nThe full model reaches {full_quality:.4} at {full_cost:.4} {cost}. The oracle reaches that from {least_cost:.4} \
         {cost} on: {:.1} % of the full model's. At that budget:\n",
        100.0 * least_fraction
    )?;
    writeln!(out, "{controls}\n")?;
    honest(out, results)
}

/// What the numbers do and do not say.
fn honest(out: &mut String, results: &Results) -> std::fmt::Result {
    let controls = &results.controls;
    writeln!(out, "In words:")?;
    let oracle = controls.oracle.quality.value;
    if let (Some(null), Some(mean)) = (controls.null_best, controls.null_mean) {
        let (cost, null, mean) = (null.mean_cost, null.quality.value, mean.quality.value);
        let verdict = if null >= oracle { "as much as the oracle or more" } else { "less than the oracle" };
        writeln!(
            out,
            "- Choosing the best of {} random routes of {cost:.2} layers by the same scores lifts their mean of {mean:.4} to \
             {null:.4}: {verdict}.",
            controls.candidates
        )?;
    } else {
        writeln!(out, "- Without random routes nothing shows how much choosing alone gains.")?;
    }
    match &controls.cross_fitted {
        Some(row) => {
            writeln!(out, "- Chosen on one half of the score and judged on the other, the oracle {}.", gain(row))?;
        }
        None => writeln!(out, "- Without halves of the score nothing shows how much of the oracle's gain lasts.")?,
    }
    if results.metric == Metric::RougeL && controls.cross_fitted.is_some() {
        let full =
            results.full_halves.map_or_else(String::new, |full| format!("; those of the full model reach {full:.4}"));
        writeln!(out, "  Its halves are sampled outputs, so its quality is theirs and not that of greedy ones{full}.")?;
    }
    if let Some(row) = &controls.label_free {
        writeln!(out, "- Chosen by the full model's own output and judged by the reference, it {}.", gain(row))?;
    }
    match controls.controllers.iter().find(|row| row.name == ROUTER) {
        Some(router) => self::router(out, router, results)?,
        None => writeln!(out, "- There are too few items for a prompt router to learn from.")?,
    }
    writeln!(
        out,
        "- {} items are a sample: the intervals tell how far the numbers may move with another. They say nothing of other \
         models, data or candidates.",
        results.items
    )
}

fn router(out: &mut String, ControllerRow { row, regret, .. }: &ControllerRow, results: &Results) -> std::fmt::Result {
    let beats = |gain: Option<Interval>| gain.is_some_and(|gain| gain.low > 0.0);
    let verdict = match (beats(row.gain), beats(row.over_mix)) {
        (true, true) => "beats the best single candidate and the best mix",
        (true, false) => "beats the best single candidate, but not reliably the best mix",
        (false, _) => "does not reliably beat the best single candidate",
    };
    write!(
        out,
        "- The prompt router (state entering layer {}, trained on other items) {verdict}: it {}",
        results.router_layer,
        gain(row)
    )?;
    match regret {
        Some(Interval { value, low, high }) => {
            writeln!(out, ", and stays {value:.4} [{low:.4}, {high:.4}] below the oracle at its own cost.")
        }
        None => writeln!(out, "."),
    }
}

/// What a row gains over the two that know nothing of the prompts.
fn gain(row: &ControlRow) -> String {
    match (row.gain, row.over_mix) {
        (Some(single), Some(mix)) => {
            format!("gains {} over one candidate for all and {} over the best mix", amount(single), amount(mix))
        }
        _ => "has no single candidate within its budget to be compared with".to_owned(),
    }
}

fn amount(Interval { value, low, high }: Interval) -> String {
    let sure = if low > 0.0 {
        ""
    } else if high < 0.0 {
        " (a loss)"
    } else {
        " (not reliably different from nothing)"
    };
    format!("{value:.4} [{low:.4}, {high:.4}]{sure}")
}
