//! The agreement of passes with the original model at full depth, on answers that the original gave.

use dynlayer::inference::controllers::{ControllerSpec, FullDepth, Resources};
use dynlayer::inference::training::TrainingItem;
use dynlayer::inference::{ControlFrom, RunSettings, ScoreItem, ScoreOptions, score_batch, score_each};
use dynlayer::metrics::statistics::{Bootstrap, Interval};
use dynlayer::model::Llama;
use dynlayer_examples::comparison::log_probs;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// The number of items that run together.
const TOGETHER: usize = 8;

/// The distance of a controller's passes from the original model at full depth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Distance {
    pub controller: String,
    /// Layers per token.
    pub layers: f64,
    /// The share of tokens for which the likeliest token is the original's.
    pub agreement: f64,
    /// Its interval of 95 %, with the items as the unit.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// The mean log-probability of the original's tokens, in nats.
    #[serde(default)]
    pub log_probability: f64,
    /// The divergence KL(original || pass), in nats per token.
    pub divergence: f64,
}

/// Measures controllers on a model beside the original at full depth. Every token of an answer counts, the first included.
pub fn distances(
    original: &Llama,
    model: &Llama,
    items: &[TrainingItem],
    controllers: &[ControllerSpec],
    resources: &Resources,
) -> Result<Vec<Distance>, Box<dyn Error>> {
    let mut sums: Vec<Sums> = controllers.iter().map(|_| Sums::default()).collect();
    let mut built = controllers.iter().map(|spec| spec.build(model, resources)).collect::<Result<Vec<_>, _>>()?;
    let run = RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() };
    let options = ScoreOptions { run, keep_logits: true, ..ScoreOptions::default() };
    for items in items.chunks(TOGETHER) {
        let item = |item: &TrainingItem| ScoreItem { prompt: item.prompt.clone(), continuation: item.answer.clone() };
        let items: Vec<ScoreItem> = items.iter().map(item).collect();
        let full = score_batch(original, FullDepth, &items, &options)?;
        for (sums, found) in sums.iter_mut().zip(score_each(model, &mut built, &items, &options)?) {
            let found = found?;
            for (full, found) in full.sequences.iter().zip(&found.sequences) {
                let (full, found) = (log_probs(original, &full.tokens)?, log_probs(model, &found.tokens)?);
                let same = found.top1_agreement(&full)?;
                sums.tokens.push(same.len() as f64);
                sums.same.push(same.iter().filter(|same| **same).count() as f64);
                sums.divergence += full.kl_divergence(&found)?.iter().sum::<f64>();
            }
            let tokens = found.sequences.iter().flat_map(|sequence| &sequence.tokens);
            sums.log_probability += tokens.map(|token| token.log_probability).sum::<f64>();
            let decode = found.report.decode_summary().work;
            sums.layers +=
                decode.layers_per_token.unwrap_or_default() * full.report.decode_summary().work.tokens as f64;
        }
    }
    let distance = |(spec, sums): (&ControllerSpec, Sums)| {
        let tokens: f64 = sums.tokens.iter().sum();
        let agreement = Bootstrap::default().ratio(&sums.same, &sums.tokens)?;
        Ok(Distance {
            controller: spec.to_string(),
            layers: sums.layers / tokens,
            agreement: agreement.estimate,
            interval: Some(agreement),
            log_probability: sums.log_probability / tokens,
            divergence: sums.divergence / tokens,
        })
    };
    controllers.iter().zip(sums).map(distance).collect()
}

/// The sums of which a distance is made.
#[derive(Default)]
struct Sums {
    /// The tokens of each item, and how many of them are the original's.
    tokens: Vec<f64>,
    same: Vec<f64>,
    divergence: f64,
    log_probability: f64,
    layers: f64,
}
