//! The first experiment, teacher-forced: families of controllers beside the full model, budget by budget.

use super::arguments::Arguments;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::{Item, Shard};
use dynlayer::inference::{ControlFrom, RunSettings, ScoreItem};
use dynlayer::metrics::random;
use dynlayer::model::{Digest, Llama};
use dynlayer_examples::comparison::{Comparison, FAMILIES, Row, of_family};
use dynlayer_examples::progress_bar;
use dynlayer_examples::stored::Stored;
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;

dynlayer::metrics::purposes! {
    /// The seeds of random skipping; the index is their number.
    SKIPPED = b"skipseed";
}

/// The seeds that random skipping is averaged over.
const SEEDS: u32 = 3;
/// The number of items that run together.
const BATCH: usize = 8;

/// The rows of a family, from the largest budget on.
pub struct Family {
    pub name: &'static str,
    pub rows: Vec<Row>,
}

/// The sums of a row's items, which [`Row`] does not write.
type Sums = Vec<[f64; 6]>;

/// A family with a seed, whose budgets are measured together.
type Group = (&'static str, u32);

/// Compares all families on the references of the items, or measures a shard of the groups and returns nothing. Random
/// skipping has several seeds, whose items are put together.
pub fn compare(
    arguments: &Arguments,
    model: &Llama,
    items: &[Item],
    budgets: &[usize],
    resources: &Resources,
    shard: Option<Shard>,
) -> Result<Option<Vec<Family>>, Box<dyn Error>> {
    // In an order in which the seeds of a family follow each other.
    let seeds = |family| if family == "random" { SEEDS } else { 1 };
    let groups = FAMILIES.into_iter().flat_map(|family| (0..seeds(family)).map(move |seed| (family, seed)));
    let chosen = groups.enumerate().filter(|(number, _)| shard.is_none_or(|shard| shard.has(*number)));
    let chosen: Vec<Group> = chosen.map(|(_, group)| group).collect();
    let measured = measure(arguments, model, items, budgets, resources, &chosen)?;
    if shard.is_some() {
        return Ok(None);
    }
    let mut families: Vec<Family> = Vec::new();
    for ((name, seed), rows) in chosen.into_iter().zip(measured) {
        match families.last_mut().filter(|_| seed > 0) {
            None => families.push(Family { name, rows }),
            Some(family) => {
                for (row, more) in family.rows.iter_mut().zip(rows) {
                    // The prompts are the unit, and not their runs with one seed.
                    for (item, more) in row.items.iter_mut().zip(more.items) {
                        item.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    }
                }
            }
        }
    }
    Ok(Some(families))
}

/// Measures groups, or reads what was measured before. Returns a row per budget for each.
fn measure(
    arguments: &Arguments,
    model: &Llama,
    items: &[Item],
    budgets: &[usize],
    resources: &Resources,
    groups: &[Group],
) -> Result<Vec<Vec<Row>>, Box<dyn Error>> {
    let texts: Vec<ScoreItem> = items
        .iter()
        .filter(|item| {
            let tokens = item.prompt.len() + item.reference_tokens.len();
            !item.reference_tokens.is_empty() && tokens <= model.config().max_positions
        })
        .map(|item| ScoreItem { prompt: item.prompt.clone(), continuation: item.reference_tokens.clone() })
        .collect();
    if texts.is_empty() {
        return Err("no reference has a token to compare on and fits the context".into());
    }
    let folder = arguments.out.join("comparison");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let bar = progress_bar(arguments.quiet, "comparing {bar:40} {pos} of {len}, {eta} left");
    let steps = ((budgets.len() + 1) * texts.len().div_ceil(BATCH)) as u64;
    bar.set_length(steps * groups.len() as u64);
    let weights = model.weights_digest()?;
    let tokens = Digest::of_tokens(texts.iter().flat_map(|text| [&text.prompt[..], &text.continuation]));
    let mut found = Vec::new();
    for (number, (family, seed)) in (1..).zip(groups) {
        let settings = RunSettings {
            control_from: ControlFrom::LastPromptToken,
            seed: random::derive(SKIPPED, arguments.seed, [u64::from(*seed), 0, 0]),
            ..RunSettings::default()
        };
        let specs = budgets.iter().map(|budget| of_family(family, *budget)).collect::<Result<Vec<_>, _>>()?;
        let mut inputs = BTreeMap::new();
        for spec in &specs {
            inputs.extend(spec.inputs(resources)?);
        }
        let identity = [
            ("the controllers", json!(specs.iter().map(ToString::to_string).collect::<Vec<_>>())),
            ("the controllers' files and calibration", json!(inputs)),
            ("the model's weights", json!(weights)),
            ("the model's configuration", json!(model.config())),
            ("device", json!(format!("{:?}", model.device()))),
            ("the items", json!(tokens)),
            ("the number of items that are measured together", json!(BATCH)),
            ("the settings", json!(settings)),
        ];
        let identity = identity.map(|(name, value)| (name.to_owned(), value)).into();
        let stored = Stored::new(folder.join(format!("{family}-{seed}.json")), identity);
        let rows = match stored.load::<Vec<(Row, Sums)>>()? {
            Some(rows) => {
                bar.reset_eta();
                rows.into_iter().map(|(row, items)| Row { items, ..row }).collect()
            }
            None => {
                let mut controllers = Vec::new();
                for spec in &specs {
                    controllers.push((spec.to_string(), spec.build(model, resources)?));
                }
                let rows = Comparison { model, settings, batch: BATCH, bar: &bar }.run(&texts, controllers)?;
                let rows: Vec<Row> = rows.into_iter().skip(1).collect();
                stored.save(&rows.iter().map(|row| (row, &row.items)).collect::<Vec<_>>())?;
                rows
            }
        };
        bar.set_position(steps * number);
        found.push(rows);
    }
    bar.finish_and_clear();
    Ok(found)
}
