//! The findings: what the paper says, what was found here, and whether they agree.

use super::depth::Family;
use super::page::{Agreement, Finding, Table};
use dynlayer::metrics::allocation::Evidence;
use dynlayer::metrics::plot::{Curve, CurvePlot};
use dynlayer::metrics::statistics::{Bootstrap, Interval};
use dynlayer_examples::comparison::of_family;
use dynlayer_examples::oracle_report::Results;
use dynlayer_examples::study::{Measure, StudyReport, Verdict, input_name, signed};
use std::error::Error;

/// Skipping against early exit.
pub fn skipping(
    families: &[Family],
    table: &Evidence,
    budgets: &[usize],
    n_layers: usize,
) -> Result<Finding, Box<dyn Error>> {
    let bootstrap = Bootstrap::default();
    let mean = |sums: &[[f64; 6]], at: usize| -> Result<Interval, Box<dyn Error>> {
        let column = |at: usize| sums.iter().map(|item| item[at]).collect::<Vec<_>>();
        Ok(bootstrap.ratio(&column(at), &column(0))?)
    };
    let mut rows = Vec::new();
    let (mut cosines, mut divergences, mut rouges) = (Vec::new(), Vec::new(), Vec::new());
    for family in families {
        let (mut cosine, mut divergence, mut rouge) = (Vec::new(), Vec::new(), Vec::new());
        for (budget, row) in budgets.iter().zip(&family.rows) {
            let text = of_text(table, &of_family(family.name, *budget)?.to_string())?;
            let measures = (1..=5).map(|at| mean(&row.items, at)).collect::<Result<Vec<_>, _>>()?;
            cosine.push((row.layers, measures[0]));
            divergence.push((row.layers, measures[2]));
            rouge.extend(text.map(|text| (row.layers, text)));
            rows.push(
                [family.name.to_owned(), format!("{:.1}", row.layers)]
                    .into_iter()
                    .chain(measures.iter().map(|measure| format!("{measure:.3}")))
                    .chain([text.map_or_else(String::new, |text| format!("{text:.3}"))])
                    .collect(),
            );
        }
        cosines.push(Curve::with_bands(family.name, cosine));
        divergences.push(Curve::with_bands(family.name, divergence));
        if !rouge.is_empty() {
            rouges.push(Curve::with_bands(family.name, rouge));
        }
    }
    let gain = advantage(families, n_layers)?;
    let (agrees, verdict) = match gain {
        Some(gain) if gain.low > 0.0 => {
            (Agreement::Agrees, "Skipping is closer to the full model than early exit here too")
        }
        Some(gain) if gain.high < 0.0 => {
            (Agreement::Differs, "Early exit is closer to the full model than skipping here")
        }
        Some(_) => (Agreement::Open, "No difference between skipping and early exit was found here"),
        None => (Agreement::Open, "No budget below full depth was compared"),
    };
    let gain = gain.map_or_else(String::new, |gain| {
        format!(
            ": the cosine similarity of the final state with the full model's changes by {} from early exit to uniform \
                 skipping, the mean over all budgets below full depth",
            signed(gain)
        )
    });
    Ok(Finding {
        title: "Skipping against early exit".into(),
        claim: "The paper finds that a decoder that skips layers at even distances keeps its final hidden state closer to the \
                full model's than one that leaves early, when both run equally many layers."
            .into(),
        found: format!("{verdict}{gain}."),
        agrees,
        why: "The paper's models were not trained to leave early. The embedded model was, so that early exits are what it is good \
              at; a checkpoint without such a training should agree with the paper."
            .into(),
        plots: vec![
            plot("Final state", "cosine similarity with the full model's", cosines),
            plot("Next token", "divergence from the full model, nats", divergences),
            plot("Generated text", "ROUGE-L or equality with the full model's text", rouges),
        ],
        table: Table {
            head: ["family", "layers", "cosine", "relative error", "divergence", "agreement", "NLL", "text like the full model's"]
                .map(str::to_owned)
                .into(),
            rows,
        },
    })
}

/// The mean quality of a candidate's texts against the full model's, with its interval; `None` if it was not run.
fn of_text(table: &Evidence, candidate: &str) -> Result<Option<Interval>, Box<dyn Error>> {
    let Some(candidate) = table.candidates().iter().position(|name| name == candidate) else { return Ok(None) };
    let sequences = 0..table.sequences().len();
    let values: Vec<f64> = sequences.filter_map(|sequence| table.cell(sequence, candidate)?.label_free).collect();
    Ok(if values.is_empty() { None } else { Some(Bootstrap::default().mean(&values)?) })
}

/// The mean over budgets of the cosine similarity of uniform skipping less that of early exit, in an interval over items.
fn advantage(families: &[Family], n_layers: usize) -> Result<Option<Interval>, Box<dyn Error>> {
    let rows = |name| families.iter().find(|family| family.name == name).map(|family| &family.rows);
    let (Some(uniform), Some(exit)) = (rows("uniform"), rows("exit")) else { return Ok(None) };
    let below = |layers: f64| layers < n_layers as f64;
    let pairs: Vec<_> = uniform.iter().zip(exit).filter(|(_, exit)| below(exit.layers)).collect();
    let Some(items) = pairs.first().map(|(row, _)| row.items.len()) else { return Ok(None) };
    let sum = |drawn: &[usize], items: &[[f64; 6]], at: usize| drawn.iter().map(|item| items[*item][at]).sum::<f64>();
    let difference = |drawn: &[usize]| {
        let of = |items: &[[f64; 6]]| sum(drawn, items, 1) / sum(drawn, items, 0);
        pairs.iter().map(|(uniform, exit)| of(&uniform.items) - of(&exit.items)).sum::<f64>() / pairs.len() as f64
    };
    Ok(Some(Bootstrap::default().statistic(items, difference)?))
}

/// Hidden states as the input of a controller.
pub fn hidden_states(study: &StudyReport) -> Result<Finding, Box<dyn Error>> {
    let comparison =
        study.hidden_against_constant(Measure::Quality).ok_or("the study has no constant to compare with")?;
    let verdict = comparison.verdict();
    let agrees = match verdict {
        Verdict::Worse => Agreement::Agrees,
        Verdict::NoDifference => Agreement::Compatible,
        Verdict::Better => Agreement::Differs,
        Verdict::Unknown | Verdict::NotComparable => Agreement::Open,
    };
    let rows = study.points.iter().map(|point| {
        vec![
            input_name(point.input),
            point.depth.to_string(),
            format!("{:.2}", point.layers),
            format!("{:.3}", point.quality),
            format!("{:.3}", point.nll),
        ]
    });
    let curves = study.points.chunk_by(|a, b| a.input == b.input).map(|points| {
        let places = points.iter().map(|point| (point.layers.estimate, point.quality));
        Curve::with_bands(points.first().map(|point| input_name(point.input)).unwrap_or_default(), places)
    });
    Ok(Finding {
        title: "Hidden states as the input of a controller".into(),
        claim: "The paper finds that controllers that see a token's hidden states choose layers no better than controllers that \
                see nothing of it."
            .into(),
        found: format!("{comparison}."),
        agrees,
        why: "Few seeds and prices say little, and so do few items: what is found is a bound, given by the interval. Where prompts \
              differ in what they need by construction, as those of the embedded model, there is something to see."
            .into(),
        plots: vec![plot("Inputs of routers", "quality", curves.collect())],
        table: Table {
            head: ["input", "trained with", "layers", "quality", "NLL"].map(str::to_owned).into(),
            rows: rows.collect(),
        },
    })
}

/// The oracle.
pub fn oracle(results: &Results) -> Finding {
    let baselines = &results.baselines;
    let found = match results.least_fraction {
        None => format!("Nothing can be said: {}.", results.says_nothing.unwrap_or("the qualities do not differ")),
        Some(fraction) => {
            let halves = results.full_halves.map_or_else(String::new, |full| {
                format!(", in sampled outputs, of which the full model's reach {full:.3}")
            });
            let cross = baselines.cross_fitted.as_ref().map_or_else(String::new, |row| {
                format!(
                    " Chosen on one half of the scores and judged on the other, it reaches {:.3} at that budget{halves}", row.quality
                )
            });
            let null = baselines.null_best.as_ref().map_or_else(String::new, |row| {
                format!("; the best of as many random routes, chosen by the same scores, reaches {:.3}", row.quality)
            });
            format!(
                "The oracle reaches the full model's quality of {:.3} with {:.1} % of the layers.{cross}{null}.",
                results.full_quality,
                100.0 * fraction
            )
        }
    };
    let rows = [
        ("oracle", Some(&baselines.oracle)),
        ("cross-fitted oracle", baselines.cross_fitted.as_ref()),
        ("label-free oracle", baselines.label_free.as_ref()),
        ("null oracle", baselines.null_best.as_ref()),
        ("one candidate for all", baselines.best_static.as_ref().map(|best| &best.row)),
        ("the best mix of candidates", baselines.best_mix.as_ref()),
        ("prompt predictor", baselines.controllers.first().map(|controller| &controller.row)),
    ];
    let rows = rows.into_iter().filter_map(|(name, row)| {
        let row = row?;
        let mix = row.over_mix.map_or_else(String::new, signed);
        Some(vec![name.to_owned(), format!("{:.2}", row.mean_cost), format!("{:.3}", row.quality), mix])
    });
    Finding {
        title: "The oracle".into(),
        claim: "The paper finds that an oracle, which gives each sequence just the layers that it needs, keeps the full model's \
                quality with 23.3 % of the layers on average."
            .into(),
        found,
        agrees: oracle_agrees(results),
        why: "An oracle is judged by the scores that it chose by, and gains by luck; the rows below it say how much. The paper's models \
              were fine-tuned for its task, with these layers."
            .into(),
        plots: vec![results.plot()],
        table: Table {
            head: ["", "layers", "quality", "over the best mix"].map(str::to_owned).into(),
            rows: rows.collect(),
        },
    }
}

/// The paper's share of the layers.
const SHARE: f64 = 0.233;

/// A share as small as the paper's counts only if it is not what choosing among random routes gives, and if the quality stays
/// where choices are judged by other scores than those that they were made by.
fn oracle_agrees(results: &Results) -> Agreement {
    let baselines = &results.baselines;
    let (Some(fraction), Some(null), Some(cross), Some(halves)) =
        (results.least_fraction, &baselines.null_best, &baselines.cross_fitted, results.full_halves)
    else {
        return Agreement::Open;
    };
    match fraction {
        _ if fraction > SHARE => Agreement::Differs,
        _ if baselines.oracle.quality.low > null.quality.high && cross.quality.high >= halves => Agreement::Agrees,
        _ => Agreement::Open,
    }
}

fn plot(title: &str, y: &str, curves: Vec<Curve>) -> CurvePlot {
    let (title, x_label, y_label) = (title.to_owned(), "layers per token".to_owned(), y.to_owned());
    CurvePlot { title, x_label, y_label, curves }
}
