//! The texts of the checks, and the routes that a controller takes for them.

use crate::control::{ControlFrom, Controller, RunSettings};
use crate::generation::{GenerateError, ScoreItem, ScoreOptions, score_batch};
use crate::report::Route;
use dynlayer_model::Llama;

/// A sequence id and its text.
pub(super) type Text = (u64, ScoreItem);

/// A sequence id and the routes of its tokens.
pub(super) type Routes = (u64, Vec<Route>);

/// Makes texts of different lengths, so that rows are padded and leave at different times, with ids that are not
/// sorted.
pub(super) fn texts(model: &Llama) -> Vec<Text> {
    let (vocab_size, context) = (model.config().vocab_size, model.config().max_positions);
    let token = |i: usize| u32::try_from(i % vocab_size).unwrap_or(0);
    let shapes = [(10, 3, 6), (7, 8, 2), (3, 1, 5), (99, 4, 4)];
    let texts = shapes.into_iter().map(|(id, prompt, continuation)| {
        let prompt = prompt.min(context.saturating_sub(1)).max(1);
        let continuation = continuation.min(context.saturating_sub(prompt));
        let start = usize::try_from(id).unwrap_or(0);
        let text: Vec<u32> = (0..prompt + continuation).map(|i| token(start * 31 + i * 7 + 1)).collect();
        (id, ScoreItem { prompt: text[..prompt].to_vec(), continuation: text[prompt..].to_vec() })
    });
    texts.collect()
}

/// Runs the controller over the texts and returns the routes of each text's tokens. The tokens are given rather than
/// generated, so that routes differ only where decisions differ, and a difference does not change later tokens.
pub(super) fn routes<C: Controller + ?Sized>(
    model: &Llama,
    controller: &mut C,
    texts: &[Text],
    control_from: ControlFrom,
) -> Result<Vec<Routes>, GenerateError> {
    let items: Vec<ScoreItem> = texts.iter().map(|(_, item)| item.clone()).collect();
    let options = ScoreOptions {
        run: RunSettings { control_from, seed: 5, ..RunSettings::default() },
        sequence_ids: texts.iter().map(|(id, _)| *id).collect(),
        ..ScoreOptions::default()
    };
    let scores = score_batch(model, controller, &items, &options)?;
    let routes = scores.sequences.into_iter();
    Ok(routes.map(|s| (s.id, s.tokens.into_iter().map(|token| token.route).collect())).collect())
}
