//! Measurement of a controller by decoding.

use super::{StudyError, StudyTask};
use dynlayer::inference::report::SequenceReport;
use dynlayer::inference::{
    ControlFrom, Controller, GenerateOptions, RunSettings, ScoreOptions, ScoredSequence, generate, score_batch,
};
use dynlayer::model::Llama;
use serde::{Deserialize, Serialize};

/// The results of a controller, item by item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The quality of the generated text.
    pub quality: Vec<f64>,
    /// The layers per generated token that the decisions asked for. An item without a controlled token ran all layers,
    /// and counts with all of them.
    pub layers: Vec<f64>,
    /// The mean negative log-likelihood of the given text, in nats per token.
    pub nll: Vec<f64>,
    /// The layers per token of the given text.
    pub nll_layers: Vec<f64>,
}

/// Measures a controller on a task's items, `batch` at a time: quality by generation, and the likelihood of the given
/// texts by scoring them in the passes of decoding.
///
/// # Errors
/// If there are no items, an item has an empty continuation, a quality is not finite, or a run fails.
pub fn evaluate<C: Controller, T: StudyTask>(
    model: &Llama,
    controller: &mut C,
    task: &T,
    control_from: ControlFrom,
    batch: usize,
) -> Result<Evaluation, StudyError> {
    let items = task.items();
    if items.is_empty() {
        return Err(StudyError::Empty { what: "items" });
    }
    if let Some(item) = items.iter().position(|item| item.continuation.is_empty()) {
        return Err(StudyError::EmptyContinuation { item });
    }
    let mut result = Evaluation::default();
    let n_layers = model.layers().len();
    for (i, items) in items.chunks(batch.max(1)).enumerate() {
        let first = i * batch.max(1);
        let sequence_ids: Vec<u64> = (first as u64..).take(items.len()).collect();
        let prompts: Vec<Vec<u32>> = items.iter().map(|item| item.prompt.clone()).collect();
        let options = GenerateOptions { sequence_ids: sequence_ids.clone(), ..task.options() };
        let run = RunSettings { control_from, ..options.run };
        let options = GenerateOptions { run, ..options };
        let (completions, report) = generate(model, &mut *controller, &prompts, options)?.finish()?;
        for (i, completion) in completions.iter().enumerate() {
            let (item, found) = (first + i, task.quality(first + i, completion));
            if !found.is_finite() {
                return Err(StudyError::Quality { item, found });
            }
            result.quality.push(found);
        }
        result.layers.extend(report.sequences.iter().map(|sequence| depth(sequence, n_layers)));
        let options = ScoreOptions {
            run: RunSettings { control_from, seed: run.seed, ..RunSettings::default() },
            sequence_ids,
            ..ScoreOptions::default()
        };
        let scores = score_batch(model, &mut *controller, items, &options)?;
        result.nll.extend(scores.sequences.iter().filter_map(ScoredSequence::mean_nll));
        result.nll_layers.extend(scores.report.sequences.iter().map(|sequence| depth(sequence, n_layers)));
    }
    Ok(result)
}

fn depth(sequence: &SequenceReport, n_layers: usize) -> f64 {
    sequence.depth().unwrap_or(n_layers as f64)
}
