//! Scoring of given text: the same passes as in generation, but the next token is given instead of chosen.

use super::session::{Keep, Kept, PassOrder, SequenceOptions, Session, SessionOptions, Stepped};
use super::{GenerateError, GenerateOptions, prompt};
use crate::control::{ControlFrom, Controller, Observers, Route, RunSettings};
use crate::report::RunReport;
use crate::tokens::TokenProblem;
use burn::tensor::Tensor;
use dynlayer_model::Llama;

/// Options of [`score`], [`score_batch`] and [`score_each`].
///
/// ```
/// use dynlayer_inference::{ControlFrom, ScoreOptions};
///
/// let mut options = ScoreOptions::default();
/// options.run.control_from = ControlFrom::LastPromptToken;
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScoreOptions {
    /// The settings that generation, scoring and the oracle have in common, including the seed of the controller's
    /// draws.
    pub run: RunSettings,
    /// `true` to keep every token's logits: `vocab_size` numbers each, on the host.
    pub keep_logits: bool,
    /// `true` to keep every token's hidden states: `(n_layers + 1) * d_model` numbers each, on the device.
    pub keep_hidden: bool,
    /// The sequences' ids, one per item; if empty, the ids are 0, 1, 2 and so on.
    pub sequence_ids: Vec<u64>,
}

/// A prompt and a continuation. Scoring measures the probability of each token of the continuation after the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScoreItem {
    /// The prompt, of at least one token.
    pub prompt: Vec<u32>,
    /// The tokens that are scored.
    pub continuation: Vec<u32>,
}

/// A scored batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scores {
    /// One entry per item, in the order of the items.
    pub sequences: Vec<ScoredSequence>,
    /// The report of the run.
    pub report: RunReport,
}

/// A scored continuation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredSequence {
    /// The sequence's id.
    pub id: u64,
    /// One entry per token of the continuation.
    pub tokens: Vec<ScoredToken>,
}

/// One token of a continuation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredToken {
    /// The token.
    pub token: u32,
    /// The natural logarithm of the token's probability, given the tokens before it.
    pub log_probability: f64,
    /// The most probable token at this position, which greedy decoding would choose; the lowest id if several tokens
    /// are equally probable.
    pub likeliest: u32,
    /// The route of the pass that predicted it.
    pub route: Route,
    /// The logits of that pass, `[vocab_size]`; empty unless [`ScoreOptions::keep_logits`] is set.
    pub logits: Vec<f32>,
    /// The states of that pass's last token, `[n_layers + 1, d_model]`: the states entering each layer, and the final
    /// normed state; `None` unless [`ScoreOptions::keep_hidden`] is set.
    pub hidden: Option<Tensor<2>>,
}

impl ScoredSequence {
    /// The mean negative log-likelihood per token, in nats; `None` for an empty continuation.
    pub fn mean_nll(&self) -> Option<f64> {
        let sum: f64 = self.tokens.iter().map(|token| -token.log_probability).sum();
        (!self.tokens.is_empty()).then(|| sum / self.tokens.len() as f64)
    }
}

/// Scores `continuation` after `prompt` under a controller: steps through it exactly as decoding would, one pass per
/// token.
///
/// # Errors
/// Fails as [`generate`](super::generate) does, and with [`GenerateError::Prompt`] if prompt and continuation together
/// exceed the model's context.
pub fn score<C: Controller>(
    model: &Llama,
    controller: C,
    prompt: &[u32],
    continuation: &[u32],
    options: &ScoreOptions,
) -> Result<(ScoredSequence, RunReport), GenerateError> {
    let item = ScoreItem { prompt: prompt.to_vec(), continuation: continuation.to_vec() };
    let Scores { sequences, report } = score_batch(model, controller, &[item], options)?;
    let sequence = sequences.into_iter().next().ok_or(GenerateError::EmptyBatch)?;
    Ok((sequence, report))
}

/// Scores several texts of any lengths as one batch, each as [`score`] would alone.
///
/// # Errors
/// Fails as [`score`] does.
pub fn score_batch<C: Controller>(
    model: &Llama,
    controller: C,
    items: &[ScoreItem],
    options: &ScoreOptions,
) -> Result<Scores, GenerateError> {
    step_through(begin(model, controller, items, options)?)
}

/// Scores several texts under each of several controllers, as [`score_batch`] would, but runs prompts only once unless
/// control begins with them ([`ControlFrom::All`]).
///
/// The iterator scores when it is asked, controller by controller. Each item is what [`score_batch`] returns for the
/// controller, except that the reports share the prompts' passes: their time, and what any of the controllers computed
/// while it observed them. Meanwhile the keys and values of the prompts are in memory once more.
///
/// ```
/// use dynlayer_inference::controllers::{ExitAfter, FullDepth};
/// use dynlayer_inference::{Controller, ScoreItem, ScoreOptions, conformance, score_each};
///
/// let model = conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
/// let items = [ScoreItem { prompt: vec![1, 2, 3], continuation: vec![4, 5] }];
/// let mut controllers: Vec<Box<dyn Controller + Send>> = vec![Box::new(FullDepth), Box::new(ExitAfter(2))];
/// for scores in score_each(&model, &mut controllers, &items, &ScoreOptions::default())? {
///     println!("{:?}", scores?.sequences[0].mean_nll());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails as [`score`] does for the texts, and if a controller refuses the model or a sequence, or fails while prompts run.
/// A later error of a controller is its item, and the next controllers go on.
pub fn score_each<'a, C: Controller>(
    model: &'a Llama,
    controllers: &'a mut [C],
    items: &[ScoreItem],
    options: &ScoreOptions,
) -> Result<impl Iterator<Item = Result<Scores, GenerateError>> + use<'a, C>, GenerateError> {
    let (prompts, scored) = {
        let (mut session, mut scored) = begin(model, Observers(&mut *controllers), items, options)?;
        if options.run.control_from != ControlFrom::All {
            advance(&mut session, &mut scored, Session::has_prompts)?;
        }
        (session.under(Observers::<C>(&mut [])), scored)
    };
    Ok(controllers.iter_mut().map(move |controller| step_through((prompts.under(controller), scored.clone()))))
}

/// A session that scores, and what it has scored so far.
type Scoring<'a, C> = (Session<'a, C>, Vec<ScoredSequence>);

/// Starts a session that is going to score these texts.
fn begin<'a, C: Controller>(
    model: &'a Llama,
    controller: C,
    items: &[ScoreItem],
    options: &ScoreOptions,
) -> Result<Scoring<'a, C>, GenerateError> {
    if let Some(prompt) = items.iter().position(|item| item.prompt.is_empty()) {
        return Err(GenerateError::Prompt { prompt, problem: TokenProblem::Empty });
    }
    let texts: Vec<Vec<u32>> = items.iter().map(|item| [&item.prompt[..], &item.continuation].concat()).collect();
    let ids = GenerateOptions { sequence_ids: options.sequence_ids.clone(), ..GenerateOptions::default() };
    prompt::check(model, &texts, &ids)?;
    let ids = prompt::ids(items.len(), &options.sequence_ids);
    let settings = SessionOptions { run: options.run, order: PassOrder::PromptsFirst, ..SessionOptions::default() };
    let mut session = Session::new(model, controller, settings)?;
    session.keep(Keep { logits: options.keep_logits, states: options.keep_hidden });
    for (id, item) in ids.iter().zip(items) {
        session.push(*id, &item.prompt, self::options(&item.continuation))?;
        // An item without a continuation needs no pass.
        if item.continuation.is_empty() {
            session.release(*id);
        }
    }
    let scored = unscored(&session);
    Ok((session, scored))
}

/// The options of a sequence whose continuation is given.
pub(super) fn options(continuation: &[u32]) -> SequenceOptions {
    SequenceOptions {
        max_new_tokens: continuation.len(),
        given: continuation.to_vec(),
        log_probabilities: Some(1),
        ..SequenceOptions::default()
    }
}

/// One entry without tokens per sequence.
pub(super) fn unscored<C: Controller>(session: &Session<'_, C>) -> Vec<ScoredSequence> {
    let ids = session.report().sequences.iter().map(|sequence| sequence.id);
    ids.map(|id| ScoredSequence { id, tokens: Vec::new() }).collect()
}

/// Steps through the given continuations of a session's sequences.
pub(super) fn step_through<C: Controller>(scoring: Scoring<'_, C>) -> Result<Scores, GenerateError> {
    let (mut session, mut sequences) = scoring;
    advance(&mut session, &mut sequences, |session| !session.is_idle())?;
    Ok(Scores { sequences, report: session.report().clone() })
}

/// Steps on as long as `goes_on` says so.
fn advance<'a, C: Controller>(
    session: &mut Session<'a, C>,
    scored: &mut [ScoredSequence],
    goes_on: impl Fn(&Session<'a, C>) -> bool,
) -> Result<(), GenerateError> {
    while goes_on(session) {
        let Stepped { events, kept } = session.advance()?;
        for (event, Kept { logits, states }) in events.into_iter().zip(kept) {
            if event.stop.is_some() {
                session.release(event.sequence);
            }
            let Some(scored) = scored.iter_mut().find(|scored| scored.id == event.sequence) else { continue };
            scored.tokens.push(ScoredToken {
                token: event.token,
                log_probability: event.log_probability.unwrap_or(f64::NAN),
                likeliest: event.likeliest.first().map_or(event.token, |(token, _)| *token),
                route: event.route,
                logits,
                hidden: states,
            });
        }
    }
    Ok(())
}
