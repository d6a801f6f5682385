//! Sessions: sequences that join, continue, are copied and leave.

use crate::support::{by_token, device, on_flex, random};
use dynlayer::inference::controllers::{
    BernoulliSkip, ConfidenceExit, ExitAfter, ExitRule, FullDepth, PerSequence, RandomSkip, SkipLayers, UniformSkip,
};
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{
    Action, ControlFrom, Controller, ControllerError, Decision, Event, GenerateError, KvPolicy, PassOrder, Pooling,
    RunSettings, ScoreItem, ScoreOptions, Scores, SequenceOptions, Session, SessionOptions, Site, Stop, TokenEvent,
    TokenProblem, conformance, controller_fn, embed, generate, score, score_batch,
};
use dynlayer::model::{KvDtype, Llama};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

type Boxed = Box<dyn Controller + Send>;

/// A model of six layers, with a vocabulary of 64 and a context of 64 tokens.
fn random_model() -> Llama {
    conformance::small_model(&device()).unwrap()
}

/// The random model, or one of the same sizes with windows and layers without rotation.
fn model_with(windows: bool) -> Llama {
    if !windows {
        return random_model();
    }
    let mut config = random_model().config().clone();
    config.windows = BTreeMap::from([(0, 5), (1, 3), (3, 11), (4, 5)]);
    config.unrotated = BTreeSet::from([2, 4]);
    random(&config, &device())
}

fn tokens(start: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| u32::try_from((start * 31 + i * 7 + 1) % 64).unwrap()).collect()
}

/// A controller that counts the passes of its sequence.
struct Counting {
    inner: Boxed,
    passes: usize,
}

impl Controller for Counting {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        self.inner.decide(site)
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.passes += usize::from(matches!(event, Event::Pass(_)));
        self.inner.on(event)
    }
}

/// Controllers of different kinds: fixed, random, and dependent on the state.
fn kind(kind: u8) -> Counting {
    let inner: Boxed = match kind % 7 {
        0 => Box::new(FullDepth),
        1 => Box::new(SkipLayers::new([1, 4])),
        2 => Box::new(ExitAfter(3)),
        3 => Box::new(BernoulliSkip::new(0.5)),
        4 => Box::new(RandomSkip::new(4)),
        5 => Box::new(ConfidenceExit::new(ExitRule { min_layers: 2, ..ExitRule::new(0.02) })),
        _ => Box::new(by_token()),
    };
    Counting { inner, passes: 0 }
}

type Sessions<'a> = Session<'a, PerSequence<Counting>>;

/// A call on one sequence, and the number of passes that the sequence had taken part in before it.
#[derive(Clone, Debug)]
struct Call {
    passes: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Append(Vec<u32>),
    Truncate(usize),
}

/// All that happened to one sequence.
#[derive(Clone, Debug)]
struct History {
    kind: u8,
    options: SequenceOptions,
    origin: Origin,
    calls: Vec<Call>,
    /// The passes of the sequence at the end, or when it was cancelled.
    passes: usize,
    events: Vec<TokenEvent>,
    /// The sequence's tokens up to the last of these events.
    text: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Origin {
    Pushed(Vec<u32>),
    /// A copy of a sequence, made after so many of its calls and passes.
    Forked {
        parent: u64,
        calls: usize,
        passes: usize,
    },
}

fn options(seed: u8) -> SequenceOptions {
    let given = tokens(usize::from(seed), usize::from(seed % 5));
    let temperature = f32::from(seed % 3);
    SequenceOptions {
        max_new_tokens: usize::from(seed % 6),
        sampling: Sampling { temperature, ..Sampling::default() },
        seed: Some(u64::from(seed)),
        given,
        log_probabilities: Some(2),
        ..SequenceOptions::default()
    }
}

fn settings(control_from: ControlFrom, kv_policy: KvPolicy, order: PassOrder) -> SessionOptions<'static> {
    let run = RunSettings { control_from, kv_policy, prefill_chunk: 4, ..RunSettings::default() };
    SessionOptions { run, order, ..SessionOptions::default() }
}

fn passes(session: &Sessions<'_>, id: u64) -> usize {
    session.controller().get(id).map_or(0, |controller| controller.passes)
}

/// Runs random calls on a session, and returns what happened to each sequence.
fn play(model: &Llama, settings: &SessionOptions<'static>, script: &[(u8, u8, u8)]) -> BTreeMap<u64, History> {
    let mut session: Sessions<'_> = Session::new(model, PerSequence::new(), settings.clone()).unwrap();
    let mut histories: BTreeMap<u64, History> = BTreeMap::new();
    let context = model.config().max_positions;
    for (op, which, seed) in script {
        let ids: Vec<u64> = session.ids().collect();
        let id = (!ids.is_empty()).then(|| ids[usize::from(*which) % ids.len()]);
        let next = histories.len() as u64 * 3 + 1;
        match (op % 10, id) {
            (0 | 1, _) | (_, None) if ids.len() < 5 => {
                let prompt = tokens(usize::from(*which), 1 + usize::from(*seed % 11));
                session.controller_mut().insert(next, kind(*which));
                session.push(next, &prompt, options(*seed)).unwrap();
                let origin = Origin::Pushed(prompt);
                histories.insert(next, history(*which, options(*seed), origin));
            }
            (2, Some(id)) => {
                let more = tokens(usize::from(*seed), 1 + usize::from(*seed % 6));
                let length = session.tokens(id).unwrap().len() + more.len();
                match session.append(id, &more) {
                    Ok(()) => log(&session, &mut histories, id, What::Append(more)),
                    Err(GenerateError::Running { .. }) => {}
                    Err(GenerateError::Tokens { problem: TokenProblem::TooLong { .. }, .. }) => {
                        assert!(length > context);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (3, Some(id)) => {
                let keep = usize::from(*seed) % (session.tokens(id).unwrap().len() + 1);
                session.truncate(id, keep).unwrap();
                log(&session, &mut histories, id, What::Truncate(keep));
            }
            (4, Some(id)) if ids.len() < 5 => {
                session.controller_mut().insert(next, kind(*seed));
                session.fork(id, next, options(*seed)).unwrap();
                let (calls, passes) = (histories[&id].calls.len(), passes(&session, id));
                let origin = Origin::Forked { parent: id, calls, passes };
                histories.insert(next, history(*seed, options(*seed), origin));
            }
            (5, Some(id)) if seed % 3 == 0 => {
                histories.get_mut(&id).unwrap().passes = passes(&session, id);
                session.cancel(id).unwrap();
            }
            _ => {
                for _ in 0..=seed % 4 {
                    for event in session.step().unwrap() {
                        let history = histories.get_mut(&event.sequence).unwrap();
                        history.text = session.tokens(event.sequence).unwrap().to_vec();
                        history.events.push(event);
                    }
                }
            }
        }
    }
    for id in session.ids() {
        histories.get_mut(&id).unwrap().passes = passes(&session, id);
    }
    histories
}

fn history(kind: u8, options: SequenceOptions, origin: Origin) -> History {
    History { kind, options, origin, calls: Vec::new(), passes: 0, events: Vec::new(), text: Vec::new() }
}

fn log(session: &Sessions<'_>, histories: &mut BTreeMap<u64, History>, id: u64, what: What) {
    let passes = passes(session, id);
    histories.get_mut(&id).unwrap().calls.push(Call { passes, what });
}

/// Repeats the calls on one sequence in a session of its own, up to a number of its calls and passes.
fn repeat(
    session: &mut Sessions<'_>,
    histories: &BTreeMap<u64, History>,
    id: u64,
    calls: usize,
    until: usize,
) -> Vec<TokenEvent> {
    let History { kind: number, options, origin, calls: all, .. } = &histories[&id];
    let mut events = Vec::new();
    match origin {
        Origin::Pushed(prompt) => {
            session.controller_mut().insert(id, kind(*number));
            session.push(id, prompt, options.clone()).unwrap();
        }
        Origin::Forked { parent, calls, passes } => {
            repeat(session, histories, *parent, *calls, *passes);
            session.controller_mut().insert(id, kind(*number));
            session.fork(*parent, id, options.clone()).unwrap();
            session.cancel(*parent).unwrap();
        }
    }
    let mut step_to = |session: &mut Sessions<'_>, wanted: usize| {
        while passes(session, id) < wanted {
            events.extend(session.step().unwrap());
        }
        assert_eq!(passes(session, id), wanted);
    };
    for Call { passes, what } in &all[..calls] {
        step_to(session, *passes);
        match what {
            What::Append(tokens) => session.append(id, tokens).unwrap(),
            What::Truncate(keep) => session.truncate(id, *keep).unwrap(),
        }
    }
    step_to(session, until);
    events
}

proptest! {
    #![proptest_config(crate::support::cases(48))]

    #[test]
    fn a_sequence_in_company_equals_the_sequence_alone(
        script in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..60),
        from in prop::sample::select(ControlFrom::ALL.to_vec()),
        policy in prop::sample::select(KvPolicy::ALL.to_vec()),
        prompts_first: bool,
        windows: bool,
    ) {
        let model = model_with(windows);
        let order = if prompts_first { PassOrder::PromptsFirst } else { PassOrder::Alternate };
        let settings = settings(from, policy, order);
        let histories = play(&model, &settings, &script);
        for (id, history) in &histories {
            let mut session = Session::new(&model, PerSequence::new(), settings.clone()).unwrap();
            let alone = repeat(&mut session, &histories, *id, history.calls.len(), history.passes);
            if on_flex() {
                // Here a product does not depend on its company, so the events are equal bit for bit.
                prop_assert_eq!(&alone, &history.events, "sequence {}", id);
            }
            prop_assert_eq!(alone.len(), history.events.len());
            for (alone, found) in alone.iter().zip(&history.events) {
                let token = |event: &TokenEvent| (event.token, event.route.clone(), event.stop.clone());
                prop_assert_eq!(token(alone), token(found), "sequence {}", id);
                let (alone, found) = (alone.log_probability.unwrap(), found.log_probability.unwrap());
                prop_assert!((alone - found).abs() < 1e-4, "sequence {}: {} and {}", id, alone, found);
            }
        }
    }

    #[test]
    fn a_continued_sequence_at_full_depth_equals_one_prompt(
        script in prop::collection::vec((any::<u8>(), Just(0u8), any::<u8>()), 1..60),
        windows: bool,
    ) {
        let model = model_with(windows);
        let settings = settings(ControlFrom::FirstGenerated, KvPolicy::Propagate, PassOrder::Alternate);
        // `kind(0)` is full depth.
        let script: Vec<(u8, u8, u8)> = script.into_iter().map(|(op, which, seed)| (op, which, seed - seed % 7)).collect();
        for history in play(&model, &settings, &script).into_values() {
            let Some(last) = history.events.last() else { continue };
            let (token, prompt) = history.text.split_last().unwrap();
            let mut fresh = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
            let given = SequenceOptions {
                given: vec![*token],
                max_new_tokens: 1,
                log_probabilities: Some(0),
                ..SequenceOptions::default()
            };
            fresh.push(0, prompt, given).unwrap();
            let event = fresh.step().unwrap().remove(0);
            let (found, expected) = (last.log_probability.unwrap(), event.log_probability.unwrap());
            // Another order of summation.
            prop_assert!((found - expected).abs() < 1e-4, "{} and {}", found, expected);
        }
    }

    #[test]
    fn chunked_prompts_equal_whole_ones(
        prompt in prop::collection::vec(0u32..64, 1..50), chunk in 1usize..20,
        policy in prop::sample::select(KvPolicy::ALL.to_vec()),
        from in prop::sample::select(vec![ControlFrom::FirstGenerated, ControlFrom::LastPromptToken]),
        windows: bool,
    ) {
        let model = model_with(windows);
        let items = [ScoreItem { prompt, continuation: vec![5, 6, 7] }];
        let run = RunSettings { control_from: from, kv_policy: policy, ..RunSettings::default() };
        let scored = |run| {
            let options = ScoreOptions { run, keep_logits: true, ..ScoreOptions::default() };
            score_batch(&model, FullDepth, &items, &options).unwrap()
        };
        let whole = scored(run);
        let chunked = scored(RunSettings { prefill_chunk: chunk, ..run });
        let logits = |scores: &Scores| -> Vec<Vec<f32>> {
            scores.sequences[0].tokens.iter().map(|token| token.logits.clone()).collect()
        };
        crate::support::assert_close(&logits(&chunked), &logits(&whole));
        prop_assert_eq!(whole.report.prefill.spent, chunked.report.prefill.spent);
    }
}

#[test]
fn a_session_can_stand_beside_its_model_and_move_to_a_thread() {
    struct Server {
        model: Arc<Llama>,
        session: Session<'static, Boxed>,
    }
    let model = Arc::new(random_model());
    let session = Session::new(model.clone(), Box::new(FullDepth) as Boxed, SessionOptions::default()).unwrap();
    let mut server = Server { model, session };
    let tokens = std::thread::spawn(move || {
        server.session.push(0, &[1, 2], SequenceOptions { max_new_tokens: 3, ..SequenceOptions::default() }).unwrap();
        while !server.session.is_idle() {
            server.session.step().unwrap();
        }
        assert_eq!(server.model.layers().len(), 6);
        server.session.take_finished().remove(0).completion.tokens
    });
    assert_eq!(tokens.join().unwrap().len(), 3);
}

#[test]
fn memory_is_what_the_sequences_hold() {
    let model = random_model();
    let slot = model.cache_bytes(KvDtype::F32, 1);
    let mut session = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    let options = |max_new_tokens| SequenceOptions { max_new_tokens, ..SequenceOptions::default() };
    session.push(0, &tokens(0, 40), options(4)).unwrap();
    (1..16).for_each(|id| session.push(id, &[1, 2], options(2)).unwrap());
    assert_eq!(session.cache_bytes(), slot * (44 + 15 * 4));
    while !session.is_idle() {
        session.step().unwrap();
    }
    assert_eq!(session.cache_bytes(), slot * (44 + 15 * 4));
    session.cancel(0).unwrap();
    assert_eq!(session.cache_bytes(), slot * 15 * 4);
    assert_eq!(session.take_finished().len(), 15);
    assert_eq!((session.cache_bytes(), session.report().sequences.len()), (0, 0));
    assert!(session.cancel(3).is_none());
}

#[test]
fn a_sequence_that_does_not_fit_is_refused_before_anything_runs() {
    let model = random_model();
    let settings = SessionOptions { max_cached_tokens: Some(20), ..SessionOptions::default() };
    let mut session = Session::new(&model, FullDepth, settings).unwrap();
    let options = SequenceOptions { max_new_tokens: 5, ..SequenceOptions::default() };
    session.push(0, &tokens(0, 6), options.clone()).unwrap();
    let refused = session.push(1, &tokens(1, 5), options.clone()).unwrap_err();
    assert!(matches!(refused, GenerateError::CacheFull { sequence: 1, needed: 10, free: 9, limit: 20 }), "{refused}");
    assert_eq!((session.ids().len(), session.report().prefill.passes), (1, 0));
    session.push(1, &tokens(1, 4), options.clone()).unwrap();
    assert_eq!(session.claimed_tokens(), 20);
    session.cancel(0).unwrap();
    session.push(2, &tokens(1, 5), options).unwrap();
}

#[test]
fn what_is_wrong_with_a_call_is_named_and_changes_nothing() {
    let model = random_model();
    let mut session = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    let options = SequenceOptions { max_new_tokens: 2, ..SequenceOptions::default() };
    session.push(5, &[1, 2, 3], options.clone()).unwrap();
    let exists = session.push(5, &[1], options.clone()).unwrap_err();
    assert!(matches!(exists, GenerateError::SequenceExists { sequence: 5 }));
    let empty = session.push(6, &[], options.clone()).unwrap_err();
    assert!(matches!(empty, GenerateError::Tokens { sequence: 6, problem: TokenProblem::Empty }));
    let unknown = session.push(6, &[1_000_000], options.clone()).unwrap_err();
    assert!(unknown.to_string().contains("sequence 6 holds token 1000000"), "{unknown}");
    let running = session.append(5, &[1]).unwrap_err();
    assert!(matches!(running, GenerateError::Running { sequence: 5 }));
    assert!(matches!(session.append(9, &[1]).unwrap_err(), GenerateError::NoSequence { sequence: 9 }));
    assert!(matches!(session.fork(9, 10, options.clone()).unwrap_err(), GenerateError::NoSequence { sequence: 9 }));
    let long = session.truncate(5, 4).unwrap_err();
    assert!(matches!(long, GenerateError::Truncate { sequence: 5, tokens: 3, wanted: 4 }));
    let stops = SequenceOptions { stop_strings: vec!["x".into()], ..options.clone() };
    assert!(matches!(session.push(6, &[1], stops).unwrap_err(), GenerateError::StopStringsWithoutTokenizer));
    let chunk = RunSettings { prefill_chunk: 0, ..RunSettings::default() };
    let chunk = Session::new(&model, FullDepth, SessionOptions { run: chunk, ..SessionOptions::default() });
    assert!(matches!(chunk.unwrap_err(), GenerateError::PrefillChunk));
    assert_eq!(session.ids().collect::<Vec<_>>(), [5]);
    assert_eq!(run(&mut session).len(), 2);
}

fn run<C: Controller>(session: &mut Session<'_, C>) -> Vec<TokenEvent> {
    let mut events = Vec::new();
    while !session.is_idle() {
        events.extend(session.step().unwrap());
    }
    events
}

#[test]
fn resuming_keeps_the_longest_common_beginning() {
    let model = random_model();
    let settings = settings(ControlFrom::FirstGenerated, KvPolicy::Propagate, PassOrder::Alternate);
    let mut session = Session::new(&model, FullDepth, settings.clone()).unwrap();
    let options = SequenceOptions { max_new_tokens: 3, log_probabilities: Some(1), ..SequenceOptions::default() };
    session.push(0, &[1, 2, 3, 4], options.clone()).unwrap();
    run(&mut session);
    let mut text = session.tokens(0).unwrap().to_vec();
    text.extend([7, 8]);
    // The last generated token was never an input, so its keys and values are not cached.
    assert_eq!(session.resume(0, &text).unwrap(), 6);
    let found = run(&mut session);
    let mut alone = Session::new(&model, FullDepth, settings.clone()).unwrap();
    alone.push(0, &text, options.clone()).unwrap();
    let expected = run(&mut alone);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.token, expected.token);
        assert!((found.log_probability.unwrap() - expected.log_probability.unwrap()).abs() < 1e-4);
    }
    // A text that parts earlier drops the rest; a text that is there already runs its last token again.
    assert_eq!(session.resume(0, &[1, 2, 9]).unwrap(), 2);
    run(&mut session);
    assert_eq!(session.resume(0, &[1, 2, 9]).unwrap(), 2);
    let before = session.report().prefill.spent.tokens;
    run(&mut session);
    assert_eq!(session.report().prefill.spent.tokens - before, 1);
    // Several sequences start from one prefix that ran once.
    session.push(10, &[1, 2, 3, 4, 5, 6, 7, 8], SequenceOptions { max_new_tokens: 0, ..options.clone() }).unwrap();
    assert_eq!(run(&mut session), []);
    assert_eq!((session.is_running(10), &session.completion(10).unwrap().stop), (false, &None));
    let before = session.report().prefill.spent.tokens;
    for id in [11, 12] {
        session.fork(10, id, options.clone()).unwrap();
        session.append(id, &[u32::try_from(id).unwrap(), 3]).unwrap();
    }
    let events = run(&mut session);
    assert_eq!(session.report().prefill.spent.tokens - before, 4);
    let mut alone = Session::new(&model, FullDepth, settings).unwrap();
    alone.push(11, &[1, 2, 3, 4, 5, 6, 7, 8, 11, 3], options).unwrap();
    let expected: Vec<u32> = run(&mut alone).iter().map(|event| event.token).collect();
    let found: Vec<u32> = events.iter().filter(|event| event.sequence == 11).map(|event| event.token).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_failing_controller_stops_nobody_else() {
    let model = random_model();
    let failing = || {
        controller_fn(|site: &Site<'_>| {
            let late = site.rows()[0].generated == 2 && site.layer() == 3;
            let error = ControllerError::other("enough");
            if late { Err(error) } else { Ok(Action::Skip) }
        })
    };
    for policy in KvPolicy::ALL {
        let settings = settings(ControlFrom::FirstGenerated, policy, PassOrder::Alternate);
        let options = SequenceOptions { max_new_tokens: 6, log_probabilities: Some(1), ..SequenceOptions::default() };
        let mut session = Session::new(&model, PerSequence::<Boxed>::new(), settings.clone()).unwrap();
        session.controller_mut().insert(0, Box::new(BernoulliSkip::new(0.5)));
        session.controller_mut().insert(1, Box::new(failing()));
        session.push(0, &[1, 2, 3], options.clone()).unwrap();
        session.push(1, &[3, 4], options.clone()).unwrap();
        let (mut events, mut failures) = (Vec::new(), 0);
        while !session.is_idle() {
            match session.step() {
                Ok(new) => events.extend(new),
                Err(error) => {
                    assert_eq!(error.sequence(), Some(1), "{error}");
                    failures += 1;
                    if failures == 2 {
                        session.cancel(1).unwrap(); // The same step fails again until someone gives in.
                    }
                }
            }
        }
        assert_eq!(failures, 2);
        let found: Vec<TokenEvent> = events.into_iter().filter(|event| event.sequence == 0).collect();
        let mut alone = Session::new(&model, BernoulliSkip::new(0.5), settings).unwrap();
        alone.push(0, &[1, 2, 3], options).unwrap();
        assert_eq!(found, run(&mut alone), "{policy}");
    }
}

#[test]
fn a_panic_leaves_a_session_that_says_so() {
    let model = random_model();
    let controller = controller_fn(|site: &Site<'_>| {
        assert!(site.layer() < 2, "a bug in a controller");
        Action::Run
    });
    let mut session = Session::new(&model, controller, SessionOptions::default()).unwrap();
    session.push(0, &[1, 2], SequenceOptions::default()).unwrap();
    session.step().unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.step()));
    assert!(caught.is_err());
    assert!(matches!(session.step().unwrap_err(), GenerateError::Interrupted));
    assert!(matches!(session.push(1, &[1], SequenceOptions::default()).unwrap_err(), GenerateError::Interrupted));
}

#[test]
fn deadlines_and_hooks_are_kept() {
    let model = random_model();
    let mut session = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    let late = SequenceOptions { deadline: Some(Instant::now()), ..SequenceOptions::default() };
    session.push(0, &[1, 2], late).unwrap();
    let only_9 = SequenceOptions {
        logits_hook: Some(Arc::new(|_, logits| {
            let kept = logits[9];
            logits.fill(f32::NEG_INFINITY);
            logits[9] = kept;
        })),
        max_new_tokens: 3,
        log_probabilities: Some(1),
        ..SequenceOptions::default()
    };
    session.push(1, &[1, 2], only_9).unwrap();
    let events = run(&mut session);
    assert_eq!(events.iter().map(|event| (event.sequence, event.token)).collect::<Vec<_>>(), [(1, 9); 3]);
    // The probabilities are the model's own, which the hook has not changed.
    assert!(events.iter().all(|event| event.log_probability.unwrap() < -0.1));
    assert_eq!(session.completion(0).unwrap().stop, Some(Stop::Deadline));
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    let model = random_model();
    let prompt = tokens(3, 7);
    let mut session = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    let sampling = Sampling { temperature: 2.0, repetition_penalty: 3.0, ..Sampling::default() };
    let options =
        SequenceOptions { sampling, max_new_tokens: 1, log_probabilities: Some(3), ..SequenceOptions::default() };
    session.push(0, &prompt, options).unwrap();
    let event = run(&mut session).remove(0);
    let mut cache = model.cache(1, prompt.len());
    let frame = model.frame(&cache, &[0], &[(0..prompt.len()).collect()]);
    let hidden = model.forward(model.tokens(&[&prompt]), &frame, &mut cache);
    let logits = model.logits(hidden.narrow(1, prompt.len() - 1, 1)).into_data().try_into_vec_as::<f32>().unwrap();
    let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
    let log = |token: u32| f64::from(logits[token as usize]) - total.ln();
    assert!((event.log_probability.unwrap() - log(event.token)).abs() < 1e-5);
    assert_eq!(event.likeliest.len(), 3);
    for (token, found) in &event.likeliest {
        assert!((found - log(*token)).abs() < 1e-5);
    }
    assert!(event.likeliest.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    let json = serde_json::to_string(session.completion(0).unwrap()).unwrap();
    let back: dynlayer::inference::Completion = serde_json::from_str(&json).unwrap();
    assert_eq!(&back, session.completion(0).unwrap());
}

/// A controller that logs what it learns.
#[derive(Default)]
struct Log(Vec<String>);

impl Controller for Log {
    fn decide(&mut self, _: &Site<'_>) -> Result<Decision, ControllerError> {
        Ok(Action::Run.into())
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.0.push(match event {
            Event::Start(setup) => format!("start {}", setup.n_layers()),
            Event::Begin(s) => {
                format!(
                    "begin {} with {} tokens, {} cached, joins {}, {:?}",
                    s.id,
                    s.tokens.len(),
                    s.cached,
                    s.joins,
                    s.copy_of
                )
            }
            Event::Pass(pass) => {
                let rows =
                    pass.rows().iter().map(|row| format!("{}:{}x{}@{}", row.id, row.token, row.tokens, row.position));
                format!("{:?} {} {}", pass.phase(), pass.controlled(), rows.collect::<Vec<_>>().join(" "))
            }
            Event::Outcome(outcome) => {
                let rows = outcome.rows().iter().map(|row| {
                    let (log, entropy, gap) =
                        (row.log_probability().unwrap(), row.entropy().unwrap(), row.gap().unwrap());
                    assert!(log < 0.0 && entropy > 0.0 && gap > 0.0 && row.logits().unwrap().len() == 64);
                    format!("{}->{}{}", row.row().id, row.token(), if row.stopped() { "!" } else { "" })
                });
                let rows: Vec<String> = rows.collect();
                assert_eq!(outcome.states().dims()[0], rows.len());
                assert_eq!(outcome.logits().dims(), [rows.len(), 64]);
                rows.join(" ")
            }
            Event::Rewind { id, tokens } => format!("rewind {id} to {tokens}"),
            Event::End { id } => format!("end {id}"),
            _ => "?".into(),
        });
        Ok(())
    }
}

#[test]
fn a_controller_learns_what_happens() {
    let model = random_model();
    let settings = settings(ControlFrom::FirstGenerated, KvPolicy::Propagate, PassOrder::PromptsFirst);
    let mut session = Session::new(&model, Log::default(), settings).unwrap();
    let options =
        |given: &[u32]| SequenceOptions { given: given.to_vec(), max_new_tokens: 2, ..SequenceOptions::default() };
    session.push(1, &[11, 12, 13, 14, 15], options(&[21, 22])).unwrap();
    session.push(2, &[16], options(&[23, 24])).unwrap();
    run(&mut session);
    session.fork(1, 3, options(&[25])).unwrap();
    session.truncate(3, 4).unwrap();
    session.append(1, &[17]).unwrap();
    session.step().unwrap();
    session.take_finished();
    let log = session.controller().0.join("\n");
    assert_eq!(
        log,
        "start 6\n\
         begin 1 with 5 tokens, 0 cached, joins true, None\n\
         begin 2 with 1 tokens, 0 cached, joins true, None\n\
         Prefill false 1:14x4@3\n\
         Prefill false 2:16x1@0\n\
         2->23\n\
         Prefill false 1:15x1@4\n\
         1->21\n\
         Decode true 1:21x1@5 2:23x1@1\n\
         1->22! 2->24!\n\
         begin 3 with 7 tokens, 6 cached, joins true, Some(1)\n\
         rewind 3 to 4\n\
         begin 1 with 8 tokens, 6 cached, joins false, None\n\
         Prefill false 1:17x2@7\n\
         1->21\n\
         end 2"
    );
}

#[test]
fn embeddings_are_the_states_of_the_layer() {
    let model = random_model();
    let texts = [tokens(1, 9), tokens(2, 4)];
    for layer in [0, 2, 6] {
        let [mean, last] = [Pooling::Mean, Pooling::Last].map(|pooling| {
            embed(&model, &texts, layer, pooling).unwrap().into_data().try_into_vec_as::<f32>().unwrap()
        });
        for (row, text) in texts.iter().enumerate() {
            let options = ScoreOptions {
                run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
                keep_hidden: true,
                ..Default::default()
            };
            // The state of each token, from the pass that reads it.
            let (scored, _) = score(&model, FullDepth, &text[..1], &[&text[1..], &[1]].concat(), &options).unwrap();
            let states = scored.tokens.iter().map(|token| {
                let state = token.hidden.clone().unwrap().narrow(0, layer, 1);
                state.into_data().try_into_vec_as::<f32>().unwrap()
            });
            let states: Vec<Vec<f32>> = states.collect();
            for i in 0..32 {
                let expected: f32 = states.iter().map(|state| state[i]).sum::<f32>() / states.len() as f32;
                assert!((mean[row * 32 + i] - expected).abs() < 1e-5);
                assert!((last[row * 32 + i] - states[states.len() - 1][i]).abs() < 1e-5);
            }
        }
    }
    assert!(embed(&model, &texts, 7, Pooling::Mean).unwrap_err().to_string().contains("no state 7"));
}

#[test]
fn reports_add_up() {
    let model = random_model();
    let options = || dynlayer::inference::GenerateOptions { max_new_tokens: 4, ..Default::default() };
    let (_, both) = generate(&model, UniformSkip::new(4), &[vec![1, 2], vec![3]], options()).unwrap().finish().unwrap();
    let one =
        |prompt: Vec<u32>| generate(&model, UniformSkip::new(4), &[prompt], options()).unwrap().finish().unwrap().1;
    let mut merged = one(vec![1, 2]);
    merged.merge(&one(vec![3]));
    assert_eq!(merged.decode.spent, both.decode.spent);
    assert_eq!(merged.prefill.spent, both.prefill.spent);
    assert_eq!(merged.sequences.len(), 2);
    assert_eq!(merged.decode.layers_per_token(), Some(4.0));
    let layers = |report: &dynlayer::inference::report::RunReport| -> HashMap<usize, u64> {
        report.decode.layers.iter().map(|layer| layer.attention).enumerate().collect()
    };
    assert_eq!(layers(&merged), layers(&both));
}

#[test]
fn options_that_cannot_be_kept_are_refused() {
    let model = random_model();
    let settings = SessionOptions { max_cached_tokens: Some(10), ..SessionOptions::default() };
    let mut session = Session::new(&model, FullDepth, settings).unwrap();
    let options = SequenceOptions { max_new_tokens: 4, ..SequenceOptions::default() };
    session.push(3, &[1, 2], options.clone()).unwrap();
    let unknown = SequenceOptions { given: vec![64], ..options.clone() };
    for refused in [session.push(4, &[1], unknown.clone()), session.set_options(3, unknown)] {
        let problem = TokenProblem::OutOfRange { token: 64, vocab_size: 64 };
        assert!(matches!(refused.unwrap_err(), GenerateError::Tokens { problem: found, .. } if found == problem));
    }
    let more = SequenceOptions { max_new_tokens: 9, ..options.clone() };
    assert!(matches!(session.set_options(3, more).unwrap_err(), GenerateError::CacheFull { needed: 11, free: 10, .. }));
    session.set_options(3, SequenceOptions { max_new_tokens: 8, ..options }).unwrap();
    assert_eq!(run(&mut session).len(), 8);
}

#[test]
fn what_waits_for_a_turn_is_not_finished() {
    let model = random_model();
    let mut session = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    let options = |max_new_tokens| SequenceOptions { max_new_tokens, ..SequenceOptions::default() };
    session.push(0, &[1, 2, 3], options(0)).unwrap(); // a prefix
    session.push(1, &[1, 2], options(4)).unwrap();
    session.push(2, &[1, 2], options(4)).unwrap();
    run(&mut session);
    session.fork(0, 3, options(4)).unwrap();
    session.truncate(1, 3).unwrap();
    assert!(session.completion(1).unwrap().tokens.is_empty());
    let taken: Vec<u64> = session.take_finished().iter().map(|taken| taken.completion.sequence).collect();
    assert_eq!(taken, [2]);
    assert_eq!(session.ids().collect::<Vec<_>>(), [0, 1, 3]);
    assert!(session.is_idle() && !session.is_running(0));
}
