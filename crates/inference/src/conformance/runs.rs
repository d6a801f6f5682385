//! The texts of the checks, and the routes that a controller takes for them.

use crate::control::{ControlFrom, Controller, RunSettings};
use crate::generation::{
    GenerateError, ScoreItem, ScoreOptions, SequenceOptions, Session, SessionOptions, score_batch,
};
use crate::report::Route;
use dynlayer_model::Llama;

/// A sequence id and its text.
pub(super) type Text = (u64, ScoreItem);

/// A sequence id and the routes of its tokens.
pub(super) type Routes = (u64, Vec<Route>);

/// Makes texts of different lengths, so that rows leave at different times, with ids that are not sorted.
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
        run: settings(control_from),
        sequence_ids: texts.iter().map(|(id, _)| *id).collect(),
        ..ScoreOptions::default()
    };
    let scores = score_batch(model, controller, &items, &options)?;
    let routes = scores.sequences.into_iter();
    Ok(routes.map(|s| (s.id, s.tokens.into_iter().map(|token| token.route).collect())).collect())
}

fn settings(control_from: ControlFrom) -> RunSettings {
    RunSettings { control_from, seed: 5, ..RunSettings::default() }
}

/// The options of a sequence that is given these tokens.
fn given(tokens: &[u32]) -> SequenceOptions {
    SequenceOptions { given: tokens.to_vec(), max_new_tokens: tokens.len(), ..SequenceOptions::default() }
}

/// Runs the controller over the texts like [`routes`], but each text joins after the one before has got its first
/// token. Meanwhile a copy of the first text joins and leaves, and so does a text of its own.
pub(super) fn joining<C: Controller + ?Sized>(
    model: &Llama,
    controller: &mut C,
    texts: &[Text],
    control_from: ControlFrom,
) -> Result<Vec<Routes>, GenerateError> {
    let options = SessionOptions { run: settings(control_from), ..SessionOptions::default() };
    let mut session = Session::new(model, controller, options)?;
    let other = texts.iter().map(|(id, _)| *id).max().unwrap_or(0) + 1;
    for (id, item) in texts {
        session.push(*id, &item.prompt, given(&item.continuation))?;
        while session.completion(*id).is_some_and(|completion| completion.tokens.is_empty()) {
            session.step()?;
        }
        let first = texts[0].0;
        session.fork(first, other, SequenceOptions { stream: Some(other), ..given(&[1]) })?;
        session.push(other + 1, &[2, 1], given(&[1]))?;
        session.step()?;
        session.cancel(other);
        session.cancel(other + 1);
    }
    run(&mut session)?;
    let routes = |(id, _): &Text| session.completion(*id).map(|completion| (*id, completion.routes.clone()));
    Ok(texts.iter().filter_map(routes).collect())
}

/// The way to a sequence that begins its second turn with a number of tokens of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// These tokens are generated, and no more.
    Direct,
    /// The whole text is generated, and the rest of it dropped.
    Rewind,
    /// A copy is made after these tokens, and the original cancelled.
    Copy,
}

/// Generates the first `tokens` tokens of the continuation, which are at least one, in one of several ways; appends a
/// token, and returns the routes of the tokens that follow.
pub(super) fn continued<C: Controller + ?Sized>(
    model: &Llama,
    controller: &mut C,
    (id, item): &Text,
    control_from: ControlFrom,
    (tokens, way): (usize, Way),
) -> Result<Vec<Routes>, GenerateError> {
    let options = SessionOptions { run: settings(control_from), ..SessionOptions::default() };
    let mut session = Session::new(model, controller, options)?;
    let first = if way == Way::Rewind { &item.continuation[..] } else { &item.continuation[..=tokens] };
    session.push(*id, &item.prompt, given(first))?;
    run(&mut session)?;
    session.truncate(*id, item.prompt.len() + tokens)?;
    let mut last = *id;
    if way == Way::Copy {
        last = id + 1;
        session.fork(*id, last, SequenceOptions::default())?;
        session.cancel(*id);
    }
    session.set_options(last, given(&[3, 1, 2]))?;
    session.append(last, &[5 % u32::try_from(model.config().vocab_size).unwrap_or(u32::MAX)])?;
    run(&mut session)?;
    Ok(session.completion(last).map(|completion| (*id, completion.routes.clone())).into_iter().collect())
}

fn run<C: Controller>(session: &mut Session<'_, C>) -> Result<(), GenerateError> {
    while !session.is_idle() {
        session.step()?;
    }
    Ok(())
}
