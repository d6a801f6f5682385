//! Controllers beside the full model, on given tokens.

use burn::tensor::{Tensor, TensorData};
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, SpecError};
use dynlayer::inference::{
    ControlFrom, Controller, RunSettings, ScoreItem, ScoreOptions, ScoredToken, Scores, score_each,
};
use dynlayer::metrics::distributions::LogProbs;
use dynlayer::metrics::hidden::{cosine_similarity, relative_error};
use dynlayer::model::Llama;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// The families of controllers that are compared at each budget.
pub const FAMILIES: [&str; 4] = ["uniform", "random", "influence", "exit"];

/// Returns the controller of a family with a budget.
///
/// # Errors
/// If the family does not exist.
pub fn of_family(family: &str, budget: usize) -> Result<ControllerSpec, SpecError> {
    // A budget of one layer cannot keep both the first and the last layer.
    let ends = if family == "random" && budget < 2 { ",ends=free" } else { "" };
    format!("{family}:{budget}{ends}").parse()
}

/// The distance of a controller's predictions from the full model's, as means over all tokens that it decided about.
/// With [`ControlFrom::FirstGenerated`], these are all but the continuation's first token, which the prompt's pass
/// predicts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The controller.
    pub controller: String,
    /// Layers per token that the decisions asked for.
    pub layers: f64,
    /// Operations of decoding, as a fraction of the full model's.
    pub flops_fraction: f64,
    /// Cosine similarity of the final normed state and the full model's.
    pub cosine: f64,
    /// The distance of that state from the full model's, relative to the norm of the latter.
    pub relative_error: f64,
    /// KL divergence of the full model's prediction from this one, in nats.
    pub kl: f64,
    /// The share of tokens at which the likeliest token is the full model's.
    pub top1: f64,
    /// Negative log-likelihood of the text, in nats per token.
    pub nll: f64,
    /// The sums of each item: its tokens, and the measures in the order above.
    #[serde(skip)]
    pub items: Vec<[f64; 6]>,
}

/// Runs controllers over the same tokens as the full model.
pub struct Comparison<'a> {
    /// The model.
    pub model: &'a Llama,
    /// The settings of every run.
    pub settings: RunSettings,
    /// The number of items that run together.
    pub batch: usize,
    /// A bar of progress, which moves with each batch of each controller.
    pub bar: &'a ProgressBar,
}

/// Sums over tokens.
#[derive(Default)]
struct Sums {
    /// Of each item: the tokens, and the sums of cosine, relative error, divergence, agreement and likelihood.
    items: Vec<[f64; 6]>,
    decoded: f64,
    layers: f64,
    flops: f64,
    flops_full: f64,
}

impl Comparison<'_> {
    /// Returns one row for the full model, and one per controller.
    pub fn run(
        &self,
        items: &[ScoreItem],
        controllers: Vec<(String, Box<dyn Controller + Send>)>,
    ) -> Result<Vec<Row>, Box<dyn Error>> {
        let full: (String, Box<dyn Controller + Send>) = ("full".to_owned(), Box::new(FullDepth));
        let (names, mut built): (Vec<_>, Vec<_>) = std::iter::once(full).chain(controllers).unzip();
        let mut sums: Vec<Sums> = names.iter().map(|_| Sums::default()).collect();
        for (i, items) in items.chunks(self.batch).enumerate() {
            let first = (i * self.batch) as u64;
            let options = ScoreOptions {
                run: self.settings,
                keep_logits: true,
                keep_hidden: true,
                sequence_ids: (first..first + items.len() as u64).collect(),
            };
            let mut full = None;
            for (sums, found) in sums.iter_mut().zip(score_each(self.model, &mut built, items, &options)?) {
                let found = found?;
                self.add(sums, &found, full.as_ref().unwrap_or(&found))?;
                full.get_or_insert(found);
                self.bar.inc(1);
            }
        }
        Ok(names.into_iter().zip(sums).map(|(name, sums)| sums.row(name)).collect())
    }

    fn add(&self, sums: &mut Sums, found: &Scores, full: &Scores) -> Result<(), Box<dyn Error>> {
        let first = usize::from(self.settings.control_from == ControlFrom::FirstGenerated);
        for (found, full) in found.sequences.iter().zip(&full.sequences) {
            let (found, full) = (&found.tokens[first..], &full.tokens[first..]);
            let targets: Vec<u32> = found.iter().map(|token| token.token).collect();
            let (predicted, reference) = (log_probs(self.model, found)?, log_probs(self.model, full)?);
            let same = predicted.top1_agreement(&reference)?;
            let (state, of_full) = (final_states(found)?, final_states(full)?);
            sums.items.push([
                targets.len() as f64,
                cosine_similarity(&state, &of_full)?.rows()[0].iter().sum(),
                relative_error(&state, &of_full)?.rows()[0].iter().sum(),
                reference.kl_divergence(&predicted)?.iter().sum(),
                same.iter().filter(|same| **same).count() as f64,
                predicted.nll(&targets)?.iter().sum(),
            ]);
        }
        let decode = found.report.decode_summary().work;
        sums.decoded += decode.tokens as f64;
        sums.layers += decode.layers_per_token.unwrap_or_default() * decode.tokens as f64;
        sums.flops += decode.flops;
        sums.flops_full += decode.flops_full_depth;
        Ok(())
    }
}

/// Returns the distributions that tokens were scored by, of scores that kept their logits.
///
/// # Errors
/// If the logits are not finite.
pub fn log_probs(model: &Llama, tokens: &[ScoredToken]) -> Result<LogProbs, Box<dyn Error>> {
    let logits: Vec<f32> = tokens.iter().flat_map(|token| token.logits.iter().copied()).collect();
    let shape = [tokens.len(), model.config().vocab_size];
    Ok(LogProbs::from_logits(Tensor::from_data(TensorData::new(logits, shape), &model.device()))?)
}

/// Returns the final normed states, `[1, tokens, d_model]`.
fn final_states(tokens: &[ScoredToken]) -> Result<Tensor<3>, Box<dyn Error>> {
    let mut states = Vec::new();
    for token in tokens {
        let hidden = token.hidden.clone().ok_or("no hidden states were kept")?; // [n_layers + 1, d_model]
        let last = hidden.dims()[0] - 1;
        states.push(hidden.narrow(0, last, 1));
    }
    Ok(Tensor::cat(states, 0).unsqueeze_dim::<3>(0))
}

impl Sums {
    fn row(self, controller: String) -> Row {
        let sum = |at: usize| self.items.iter().map(|item| item[at]).sum::<f64>();
        let mean = |at| sum(at) / sum(0);
        Row {
            controller,
            layers: self.layers / self.decoded,
            flops_fraction: self.flops / self.flops_full,
            cosine: mean(1),
            relative_error: mean(2),
            kl: mean(3),
            top1: mean(4),
            nll: mean(5),
            items: self.items,
        }
    }
}
