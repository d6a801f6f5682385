//! The first experiment, teacher-forced: families of controllers beside the full model, budget by budget.

use super::arguments::Arguments;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::oracle::Item;
use dynlayer::inference::{ControlFrom, RunSettings, ScoreItem};
use dynlayer::metrics::random;
use dynlayer::model::Llama;
use dynlayer_examples::comparison::{Comparison, FAMILIES, Row, of_family};
use dynlayer_examples::progress_bar;
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

/// Compares all families on the references of the items. Random skipping has several seeds, whose items are put together.
pub fn compare(
    arguments: &Arguments,
    model: &Llama,
    items: &[Item],
    budgets: &[usize],
    resources: &Resources,
) -> Result<Vec<Family>, Box<dyn Error>> {
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
    let bar = progress_bar(arguments.quiet, "comparing {bar:40} {pos} of {len}, {eta} left");
    let runs = FAMILIES.len() * budgets.len() + 1 + (SEEDS as usize - 1) * (budgets.len() + 1);
    bar.set_length((runs * texts.len().div_ceil(BATCH)) as u64);
    let mut families: Vec<Family> = FAMILIES.map(|name| Family { name, rows: Vec::new() }).into();
    for seed in 0..SEEDS {
        let settings = RunSettings {
            control_from: ControlFrom::LastPromptToken,
            seed: random::derive(SKIPPED, arguments.seed, [seed.into(), 0, 0]),
            ..RunSettings::default()
        };
        let mut controllers = Vec::new();
        for family in FAMILIES.into_iter().filter(|family| seed == 0 || *family == "random") {
            for budget in budgets {
                let spec = of_family(family, *budget)?;
                controllers.push((spec.to_string(), spec.build(model, resources)?));
            }
        }
        let rows = Comparison { model, settings, batch: BATCH, bar: &bar }.run(&texts, controllers)?;
        let mut rows = rows.into_iter().skip(1);
        for family in families.iter_mut().filter(|family| seed == 0 || family.name == "random") {
            let found: Vec<Row> = rows.by_ref().take(budgets.len()).collect();
            if family.rows.is_empty() {
                family.rows = found;
            } else {
                for (row, more) in family.rows.iter_mut().zip(found) {
                    // The prompts are the unit, and not their runs with one seed.
                    for (item, more) in row.items.iter_mut().zip(more.items) {
                        item.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    }
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(families)
}
