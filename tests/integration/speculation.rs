//! Speculation: whatever drafts, what comes out is what the full model generates by itself.

use crate::real_model::{load, path};
use crate::support::{SPECS, by_token, cases, device, on_flex, random, skipped_off_flex, some};
use dynlayer::inference::controllers::{
    ControllerSpec, ExitAfter, FullDepth, LinearRouter, PerSequence, Recorded, Replayed, Resources, Routed,
    RouterInput, RouterOptions, UniformSkip,
};
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{
    Accept, Action, Completion, ControlFrom, Controller, ControllerError, Decision, DraftLength, Event, GenerateError,
    GenerateOptions, KvPolicy, LogitsHook, RunSettings, SequenceOptions, Session, SessionOptions, Site, Speculation,
    Stop, conformance, controller_fn, generate,
};
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Checkpoint, KvCache, KvDtype, Llama, WeightDtype};
use dynlayer_tiny::{self as tiny, Task, problems};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Boxed = Box<dyn Controller + Send>;

/// A model of six layers, with a vocabulary of 64 and a context of 64 tokens.
fn small_model() -> Llama {
    conformance::small_model(&device()).unwrap()
}

fn embedded() -> (Llama, Tokenizer) {
    let checkpoint = tiny::checkpoint().unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    (checkpoint.load(WeightDtype::F32, &device(), |_| ()).unwrap(), tokenizer)
}

fn fixed(length: usize) -> Speculation {
    Speculation { length: DraftLength::Fixed(length), ..Speculation::default() }
}

fn lengths() -> [Speculation; 5] {
    [fixed(1), fixed(2), fixed(4), fixed(7), Speculation::default()]
}

/// Sampling options with every filter, and greedy choice with and without a penalty.
fn samplings() -> Vec<Sampling> {
    let warm = Sampling { temperature: 0.7, ..Sampling::default() };
    let hot = Sampling { temperature: 1.3, ..Sampling::default() };
    vec![
        Sampling::default(),
        Sampling { repetition_penalty: 1.3, ..Sampling::default() },
        Sampling { top_k: Some(8), ..hot.clone() },
        Sampling { top_p: Some(0.9), repetition_penalty: 1.1, ..warm.clone() },
        Sampling { min_p: Some(0.05), ..hot },
        Sampling { top_k: Some(20), top_p: Some(0.8), min_p: Some(0.01), repetition_penalty: 0.9, ..warm },
    ]
}

/// Asserts that completions are equal. On backends that round sums in another order for several tokens, they may differ
/// from the first token on whose two likeliest candidates are as good as equal.
fn assert_same(found: &[Completion], expected: &[Completion], context: &str) {
    if on_flex() {
        return assert_eq!(found, expected, "{context}");
    }
    for (found, expected) in found.iter().zip(expected) {
        let differs = found.tokens.iter().zip(&expected.tokens).position(|(a, b)| a != b);
        let Some(at) = differs else { continue };
        let [(_, first), (_, second), ..] = expected.likeliest[at][..] else { panic!("two candidates") };
        assert!(first - second < 1e-3, "{context}: token {at} of sequence {}", expected.sequence);
    }
}

/// Generates without a controller.
fn plain(model: &Llama, prompts: &[Vec<u32>], options: &GenerateOptions<'_>) -> Vec<Completion> {
    let options = GenerateOptions { speculation: None, ..options.clone() };
    generate(model, FullDepth, prompts, options).unwrap().finish().unwrap().0
}

fn prompts() -> Vec<Vec<u32>> {
    [(3, 9), (7, 1), (20, 4)].iter().map(|(from, n)| (*from..from + n).map(|i| i * 11 % 64).collect()).collect()
}

/// Runs the same number of tokens of some rows in one pass, and returns the bits of the logits of each row's tokens.
fn pass(model: &Llama, cache: &mut KvCache, rows: &[usize], tokens: &[&[u32]]) -> Vec<Vec<u32>> {
    let n = tokens[0].len();
    let positions: Vec<Vec<usize>> = rows.iter().map(|row| (cache.len(*row)..cache.len(*row) + n).collect()).collect();
    for row in rows {
        cache.reserve(*row, cache.len(*row) + n);
    }
    let frame = model.frame(cache, rows, &positions);
    let hidden = model.forward(model.tokens(tokens), &frame, cache);
    let logits = model.logits(hidden).into_data().try_into_vec_as::<f32>().unwrap();
    let bits: Vec<u32> = logits.into_iter().map(f32::to_bits).collect();
    bits.chunks_exact(n * model.config().vocab_size).map(<[u32]>::to_vec).collect()
}

proptest! {
    #![proptest_config(cases(48))]

    /// The condition of speculation: the logits after a token have the same bits if it is run alone, with later tokens of
    /// its row, and with other rows, for every type of weights and of keys and values, on any number of threads.
    #[test]
    fn a_token_has_the_same_bits_in_every_pass(
        before in prop::collection::vec(1usize..70, 1..5), n in 1usize..17, dtype in 0usize..3, half: bool,
        threads in prop::sample::select(vec![1usize, 2, 4]), windows: bool,
    ) {
        if skipped_off_flex("bits are promised on flex") {
            return Ok(());
        }
        let json = r#"{"model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;
        let mut config = crate::support::config(json);
        if windows {
            config.windows = BTreeMap::from([(0, 5), (2, 40)]);
        }
        let dtype = [WeightDtype::F32, WeightDtype::F16, WeightDtype::Q8][dtype];
        let model = config.init(5, dtype, &device()).unwrap();
        dynlayer::model::set_threads(NonZero::new(threads).unwrap());
        let text = |row: usize, n: usize| (0..n).map(|i| (row * 31 + i * 7 + 1) as u32 % 96).collect::<Vec<u32>>();
        let kv = if half { KvDtype::F16 } else { KvDtype::F32 };
        let mut cache = model.cache_of(kv, before.len(), 4);
        for (row, before) in before.iter().enumerate() {
            pass(&model, &mut cache, &[row], &[&text(row, *before)]);
        }
        let tokens: Vec<Vec<u32>> = (0..before.len()).map(|row| text(row + 9, n)).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let rows: Vec<usize> = (0..before.len()).collect();
        let together = pass(&model, &mut cache.clone(), &rows, &tokens);
        for row in rows {
            let (mut one, mut each) = (cache.clone(), Vec::new());
            for token in tokens[row] {
                each.extend(pass(&model, &mut one, &[row], &[&[*token]]).remove(0));
            }
            prop_assert!(each == together[row], "row {row} token by token");
            prop_assert!(pass(&model, &mut cache.clone(), &[row], &[tokens[row]])[0] == together[row], "row {row} alone");
        }
    }
}

#[test]
fn every_controller_drafts_the_full_models_tokens() {
    let model = small_model();
    let resources = Resources::new().texts(vec![(0..60).map(|i| i * 7 % 64).collect()]);
    let spec = |spec: &str| spec.parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap();
    let mut drafters: Vec<(String, Boxed)> = SPECS.iter().map(|text| ((*text).to_owned(), spec(text))).collect();
    drafters
        .extend(SPECS.iter().map(|text| (format!("recorded {text}"), Box::new(Recorded::new(spec(text))) as Boxed)));
    let router = LinearRouter::new([6, 32], 0.5, 1, &device());
    for input in [RouterInput::Hidden, RouterInput::Position, RouterInput::Constant, RouterInput::ShuffledHidden] {
        let controller = Routed::new(router.clone(), RouterOptions { input, ..RouterOptions::default() });
        drafters.push((format!("{input:?}"), Box::new(controller)));
    }
    let mut per_sequence: PerSequence<Boxed> = PerSequence::new();
    (0..3).for_each(|id| drop(per_sequence.insert(id, spec(["exit:2", "bernoulli:0.5", "uniform:3"][id as usize]))));
    drafters.push(("per sequence".to_owned(), Box::new(per_sequence)));
    let samplings = samplings();
    // The lengths, policies and ways to sample are dealt out over the controllers.
    for (case, (name, mut drafter)) in some(drafters, 4).enumerate() {
        for (round, speculation) in some([fixed(1), fixed(4), fixed(2), fixed(7)], 2).enumerate() {
            let run = RunSettings {
                kv_policy: KvPolicy::ALL[(case + round) % 3],
                kv_dtype: if case % 5 == 4 && model_has_f16() { KvDtype::F16 } else { KvDtype::F32 },
                seed: case as u64,
                ..RunSettings::default()
            };
            let options = GenerateOptions {
                run,
                max_new_tokens: 20,
                stop_tokens: vec![5],
                sampling: samplings[(case / 3 + round) % samplings.len()].clone(),
                log_probabilities: Some(2),
                speculation: Some(speculation),
                ..GenerateOptions::default()
            };
            let expected = plain(&model, &prompts(), &options);
            let (found, report) = generate(&model, &mut drafter, &prompts(), options).unwrap().finish().unwrap();
            assert_same(&found, &expected, &format!("{name}, {speculation:?}"));
            let report = report.speculation.unwrap();
            assert!(report.drafted > 0 && report.checked >= report.accepted, "{name}: {report}");
            if name == "per sequence" {
                break; // its controllers end with their sequences
            }
        }
    }
}

fn model_has_f16() -> bool {
    device().supports_dtype(burn::tensor::DType::F16)
}

#[test]
fn the_full_model_accepts_all_of_its_own_drafts() {
    let model = small_model();
    for sampling in some(samplings(), 1) {
        let options = GenerateOptions {
            max_new_tokens: 21,
            sampling,
            speculation: Some(fixed(4)),
            log_probabilities: Some(2),
            ..GenerateOptions::default()
        };
        let expected = plain(&model, &prompts(), &options);
        let (found, report) = generate(&model, FullDepth, &prompts(), options).unwrap().finish().unwrap();
        assert_same(&found, &expected, "full depth");
        if on_flex() {
            let report = report.speculation.unwrap();
            assert_eq!(report.acceptance(), Some(1.0));
            // The first token comes from the prompt's pass, the others from four rounds of four drafts.
            assert_eq!(report.lengths, [0, 0, 0, 0, 4]);
            assert_eq!((report.drafted, report.tokens), (3 * 16, 3 * 20));
        }
    }
}

#[test]
fn text_stop_strings_and_ends_are_those_of_plain_generation() {
    let (model, tokenizer) = embedded();
    let problems = problems(&[Task::Sort, Task::Count, Task::Follow3], 6, 5);
    let prompts: Vec<Vec<u32>> =
        some(&problems, 6).map(|problem| tokenizer.encode(&problem.prompt, false).unwrap()).collect();
    let eos: Vec<u32> = tokenizer.eos_id().into_iter().collect();
    let drafters = ["exit:3", "confidence:0.9", "router:router.safetensors", "uniform:6", "exit:1"];
    for (case, speculation) in some(lengths(), 2).enumerate() {
        // Stop strings that begin in one draft and end in another, and ends of the answer in the middle of a draft.
        for (stop_strings, stop_tokens, max_new_tokens) in [
            (vec![], eos.clone(), 12),
            (vec!["45".to_owned(), "7.".to_owned(), "1234".to_owned()], eos.clone(), 12),
            (vec![], vec![], 7),
            (vec![], vec![], 1),
        ] {
            let options = GenerateOptions {
                max_new_tokens,
                stop_strings,
                stop_tokens,
                tokenizer: Some(&tokenizer),
                log_probabilities: Some(2),
                speculation: Some(speculation),
                ..GenerateOptions::default()
            };
            let expected = plain(&model, &prompts, &options);
            let spec: ControllerSpec = drafters[case].parse().unwrap();
            let controller = spec.build(&model, &tiny::resources()).unwrap();
            let mut generation = generate(&model, controller, &prompts, options).unwrap();
            let mut texts = BTreeMap::<u64, String>::new();
            for event in generation.by_ref() {
                let event = event.unwrap();
                texts.entry(event.sequence).or_default().push_str(&event.text);
            }
            let (found, report) = generation.finish().unwrap();
            assert_same(&found, &expected, drafters[case]);
            if on_flex() {
                assert!(found.iter().all(|completion| completion.text == texts[&completion.sequence]), "streamed");
            }
            let tokens: u64 = report.sequences.iter().map(|sequence| sequence.generated_tokens).sum();
            assert_eq!(tokens, found.iter().map(|completion| completion.tokens.len() as u64).sum::<u64>());
            // The first token of each comes from its prompt's pass.
            assert_eq!(report.decode.spent.tokens, tokens - found.len() as u64);
        }
    }
}

#[test]
fn a_context_that_fills_up_in_a_draft_ends_the_sequence_where_it_would() {
    let model = small_model();
    for (prompt, speculation) in [(50, fixed(7)), (62, fixed(4)), (63, fixed(3)), (64, fixed(2))] {
        let prompts = [(0..prompt).map(|i| i % 60).collect()];
        let options = GenerateOptions {
            max_new_tokens: 40,
            log_probabilities: Some(2),
            speculation: Some(speculation),
            ..GenerateOptions::default()
        };
        let expected = plain(&model, &prompts, &options);
        assert_eq!(expected[0].stop, Some(Stop::ContextFull));
        let (found, _) = generate(&model, UniformSkip::new(4), &prompts, options).unwrap().finish().unwrap();
        assert_same(&found, &expected, &format!("{prompt} tokens"));
    }
}

#[test]
fn shared_layers_change_nothing_and_are_not_run_again() {
    let model = small_model();
    let run = |drafter: Boxed, share_layers: bool, kv_policy: KvPolicy| {
        let options = GenerateOptions {
            run: RunSettings { kv_policy, ..RunSettings::default() },
            max_new_tokens: 17,
            log_probabilities: Some(2),
            speculation: Some(Speculation { share_layers, ..fixed(3) }),
            ..GenerateOptions::default()
        };
        let (found, report) = generate(&model, drafter, &prompts(), options).unwrap().finish().unwrap();
        (found, report)
    };
    let drafters: [fn() -> Boxed; 4] = [
        || Box::new(ExitAfter(4)),
        || Box::new(FullDepth),
        || Box::new(UniformSkip::new(4)),
        // Rows that exit at different layers.
        || {
            Box::new(controller_fn(|site: &Site<'_>| {
                let action = |id: u64| if site.layer() as u64 >= 2 + id { Action::Exit } else { Action::Run };
                Decision::per_row(site.rows().iter().map(|row| action(row.id)))
            }))
        },
    ];
    for drafter in some(drafters, 2) {
        for kv_policy in some(KvPolicy::ALL, 2) {
            let (shared, with) = run(drafter(), true, kv_policy);
            let (unshared, without) = run(drafter(), false, kv_policy);
            assert_same(&shared, &unshared, "shared");
            if on_flex() {
                let work = |report: &dynlayer::inference::report::RunReport| report.decode.spent.executed.attention;
                assert!(work(&with) < work(&without));
                assert_eq!(with.speculation.unwrap().accepted, without.speculation.unwrap().accepted);
            }
        }
    }
}

/// Gates multiply the update of a layer, which is then not the full layer's, though it runs.
#[test]
fn a_gated_layer_is_not_shared() {
    let model = small_model();
    let options = GenerateOptions {
        max_new_tokens: 16,
        log_probabilities: Some(2),
        speculation: Some(fixed(3)),
        ..GenerateOptions::default()
    };
    let gated = controller_fn(|site: &Site<'_>| {
        let [rows, tokens, _] = site.hidden().dims();
        let gate = burn::tensor::Tensor::full([rows, tokens], 0.5, &site.hidden().device());
        if site.layer() == 1 { Decision::Gate(gate) } else { Action::Run.into() }
    });
    let expected = plain(&model, &prompts(), &options);
    let (found, _) = generate(&model, gated, &prompts(), options).unwrap().finish().unwrap();
    assert_same(&found, &expected, "gated");
}

/// A drafter for each sequence of a session.
fn drafter(kind: u8) -> Boxed {
    match kind % 5 {
        0 => Box::new(FullDepth),
        1 => Box::new(ExitAfter(3)),
        2 => "bernoulli:0.6".parse::<ControllerSpec>().unwrap().build(&small_model(), &Resources::new()).unwrap(),
        3 => "budgeted:4:confidence:0.02"
            .parse::<ControllerSpec>()
            .unwrap()
            .build(&small_model(), &Resources::new())
            .unwrap(),
        _ => Box::new(by_token()),
    }
}

/// A call on a session; the numbers choose among what is possible.
#[derive(Clone, Debug)]
enum Call {
    Push { kind: u8, tokens: usize, options: u8 },
    Steps(usize),
    Append { of: usize, tokens: usize },
    Truncate { of: usize, tokens: usize },
    Fork { of: usize, options: u8 },
    Cancel(usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (any::<u8>(), 1usize..12, any::<u8>()).prop_map(|(kind, tokens, options)| Call::Push { kind, tokens, options }),
        6 => (1usize..4).prop_map(Call::Steps),
        2 => (0usize..8, 1usize..4).prop_map(|(of, tokens)| Call::Append { of, tokens }),
        1 => (0usize..8, 0usize..40).prop_map(|(of, tokens)| Call::Truncate { of, tokens }),
        1 => (0usize..8, any::<u8>()).prop_map(|(of, options)| Call::Fork { of, options }),
        1 => (0usize..8).prop_map(Call::Cancel),
    ]
}

fn sequence_options(options: u8) -> SequenceOptions {
    let samplings = samplings();
    SequenceOptions {
        max_new_tokens: usize::from(options % 13),
        sampling: samplings[usize::from(options) % samplings.len()].clone(),
        stop_tokens: vec![9],
        seed: Some(u64::from(options)),
        given: (0..u32::from(options % 3)).map(|i| 7 * i).collect(),
        log_probabilities: Some(64),
        ..SequenceOptions::default()
    }
}

/// A turn of a sequence: the tokens before it, its options and stream, and what has come of it.
struct Turn {
    before: Vec<u32>,
    options: SequenceOptions,
    completion: Completion,
}

proptest! {
    #![proptest_config(cases(40))]

    /// Every turn of every sequence, however it began and ended, has the tokens and the exact log-probabilities of all
    /// tokens that the full model gives after the same beginning, in a session of its own. The keys and values in the
    /// cache must be exact for that.
    #[test]
    fn sequences_that_come_and_go_are_as_if_alone(
        calls in prop::collection::vec(call(), 4..30), length in 0usize..5, policy in 0usize..3, windows: bool,
    ) {
        if skipped_off_flex("bits are promised on flex") {
            return Ok(());
        }
        let mut config = small_model().config().clone();
        if windows {
            config.windows = BTreeMap::from([(0, 5), (1, 3), (3, 11), (4, 5)]);
            config.unrotated = BTreeSet::from([2, 4]);
        }
        let model = random(&config, &device());
        let run = RunSettings { kv_policy: KvPolicy::ALL[policy], prefill_chunk: 4, ..RunSettings::default() };
        let speculation = Some(lengths()[length]);
        let options = SessionOptions { run, speculation, ..SessionOptions::default() };
        let mut session = Session::new(&model, PerSequence::<Boxed>::new(), options).unwrap();
        let mut begun = BTreeMap::<u64, (Vec<u32>, SequenceOptions)>::new();
        let mut turns = Vec::new();
        let mut next = 0;
        for call in calls {
            let ids: Vec<u64> = session.ids().collect();
            let pick = |of: usize| ids.get(of % ids.len().max(1)).copied();
            let mut end = |session: &Session<'_, PerSequence<Boxed>>, id: u64, begun: &mut BTreeMap<u64, _>| {
                if let (Some((before, options)), Some(completion)) = (begun.remove(&id), session.completion(id)) {
                    turns.push(Turn { before, options, completion: completion.clone() });
                }
            };
            match call {
                Call::Push { kind, tokens, options } => {
                    let prompt: Vec<u32> = (0..tokens as u32).map(|i| (i * 13 + u32::from(kind)) % 64).collect();
                    let options = SequenceOptions { stream: Some(next), ..sequence_options(options) };
                    session.controller_mut().insert(next, drafter(kind));
                    session.push(next, &prompt, options.clone()).unwrap();
                    begun.insert(next, (prompt, options));
                    next += 1;
                }
                Call::Steps(n) => for _ in 0..n {
                    session.step().unwrap();
                },
                Call::Append { of, tokens } => {
                    let Some(id) = pick(of).filter(|id| !session.is_running(*id)) else { continue };
                    let options = begun.get(&id).map(|(_, options)| options.clone());
                    let Some(options) = options else { continue };
                    end(&session, id, &mut begun);
                    let appended: Vec<u32> = (0..tokens as u32).map(|i| (i * 5 + 2) % 64).collect();
                    if session.append(id, &appended).is_ok() {
                        begun.insert(id, (session.tokens(id).unwrap().to_vec(), options));
                    }
                }
                Call::Truncate { of, tokens } => {
                    let Some(id) = pick(of) else { continue };
                    let options = begun.get(&id).map(|(_, options)| options.clone());
                    let Some(options) = options else { continue };
                    end(&session, id, &mut begun);
                    let has = session.tokens(id).unwrap().len();
                    session.truncate(id, tokens.clamp(1, has)).unwrap();
                    begun.insert(id, (Vec::new(), options));
                }
                Call::Fork { of, options } => {
                    let Some(id) = pick(of) else { continue };
                    session.controller_mut().insert(next, drafter(options));
                    let options = SequenceOptions { stream: Some(next), ..sequence_options(options) };
                    session.fork(id, next, options.clone()).unwrap();
                    begun.insert(next, (Vec::new(), options));
                    next += 1;
                }
                Call::Cancel(of) => {
                    let Some(id) = pick(of) else { continue };
                    end(&session, id, &mut begun);
                    session.cancel(id);
                }
            }
        }
        while !session.is_idle() {
            session.step().unwrap();
        }
        for (id, (before, options)) in begun {
            turns.push(Turn { before, options, completion: session.completion(id).unwrap().clone() });
        }
        for Turn { before, options, completion } in turns {
            if before.is_empty() || completion.tokens.is_empty() {
                continue;
            }
            let mut alone = Session::new(&model, FullDepth, SessionOptions { run, ..SessionOptions::default() }).unwrap();
            alone.push(completion.sequence, &before, options).unwrap();
            while !alone.is_idle() {
                alone.step().unwrap();
            }
            let expected = alone.completion(completion.sequence).unwrap();
            let n = completion.tokens.len();
            prop_assert_eq!(&completion.tokens[..], &expected.tokens[..n]);
            prop_assert_eq!(&completion.likeliest[..], &expected.likeliest[..n], "bits of all logits");
            prop_assert_eq!(&completion.routes[..], &expected.routes[..n]);
            if completion.stop.is_some() {
                prop_assert_eq!(&completion.stop, &expected.stop);
            }
        }
    }
}

/// Exits after two layers, notes what it is told, and fails or panics where it should.
#[derive(Default)]
struct Watcher {
    events: Vec<String>,
    fails: Option<&'static str>,
    panics: bool,
}

impl Watcher {
    fn note(&mut self, name: &'static str, event: String) -> Result<(), ControllerError> {
        self.events.push(event);
        if self.fails != Some(name) {
            return Ok(());
        }
        assert!(!self.panics, "as asked");
        Err(ControllerError::other(std::io::Error::other(name)))
    }
}

impl Controller for Watcher {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let position = site.rows()[0].position;
        if site.layer() == 2 && position > 4 {
            self.note("decide", format!("asked at {position}"))?;
        }
        Ok(if site.layer() < 2 { Action::Run } else { Action::Exit }.into())
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Outcome(outcome) if outcome.controlled() => {
                let row = outcome.rows()[0];
                self.note("outcome", format!("drafted {} at {}", row.token(), row.row().position))
            }
            Event::Verified(verified) => {
                let row = verified.rows()[0];
                assert_eq!(row.logits(row.drafted().len())?.map(<[f32]>::len), Some(64));
                assert!(row.logits(row.drafted().len() + 1)?.is_none());
                let (drafted, accepted, tokens) = (row.drafted().len(), row.accepted(), row.tokens().to_vec());
                let at = row.row().position;
                self.note("verified", format!("{accepted} of {drafted} at {at}: {tokens:?}, {}", row.stopped()))
            }
            Event::Rewind { tokens, .. } => self.note("rewind", format!("rewound to {tokens}")),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_controller_learns_what_was_drafted_and_what_came_out() {
    let model = small_model();
    // In the second case, generation ends before a first try.
    for (speculation, most) in [(fixed(2), 2), (Speculation::default(), 0)] {
        let options =
            GenerateOptions { max_new_tokens: 8, speculation: Some(speculation), ..GenerateOptions::default() };
        let prompts = [vec![1, 2, 3]];
        let expected = plain(&model, &prompts, &options).remove(0).tokens;
        let mut watcher = Watcher::default();
        generate(&model, &mut watcher, &prompts, options).unwrap().finish().unwrap();
        let mut events = watcher.events.iter().filter(|event| !event.starts_with("asked"));
        // The rounds as they must be, from the tokens alone.
        let mut out = 1;
        while out < expected.len() {
            let position = 2 + out; // of the round's first input
            let drafts = most.min(expected.len() - out - 1);
            let mut drafted = Vec::new();
            for draft in 0..drafts {
                let event = events.next().unwrap();
                let at = format!(" at {}", position + draft);
                drafted
                    .push(event.strip_prefix("drafted ").unwrap().strip_suffix(&at).unwrap().parse::<u32>().unwrap());
            }
            let accepted = drafted.iter().zip(&expected[out..]).take_while(|(a, b)| a == b).count();
            let tokens = expected[out..=out + accepted].to_vec();
            out += tokens.len();
            let stopped = out == expected.len();
            assert_eq!(*events.next().unwrap(), format!("{accepted} of {drafts} at {position}: {tokens:?}, {stopped}"));
            if tokens.len() < drafts {
                assert_eq!(*events.next().unwrap(), format!("rewound to {}", position + tokens.len()));
            }
        }
        assert_eq!(events.next(), None);
    }
}

#[test]
fn a_controller_that_fails_in_a_round_changes_no_sequence() {
    let model = small_model();
    let sequence = || SequenceOptions { max_new_tokens: 12, log_probabilities: Some(64), ..SequenceOptions::default() };
    let mut plain = Session::new(&model, FullDepth, SessionOptions::default()).unwrap();
    plain.push(0, &[1, 2, 3], sequence()).unwrap();
    while !plain.is_idle() {
        plain.step().unwrap();
    }
    // The last one fails in rounds without drafts: the first try would come later.
    let drafting = ["decide", "outcome", "verified", "rewind"].map(|name| (fixed(3), name));
    for (speculation, name) in drafting.into_iter().chain([(Speculation::default(), "verified")]) {
        let settings = SessionOptions { speculation: Some(speculation), ..SessionOptions::default() };
        let mut session = Session::new(&model, Watcher::default(), settings).unwrap();
        session.push(0, &[1, 2, 3], sequence()).unwrap();
        while session.tokens(0).unwrap().len() < 6 {
            session.step().unwrap();
        }
        let before = (session.tokens(0).unwrap().to_vec(), session.completion(0).unwrap().clone());
        session.controller_mut().fails = Some(name);
        let mut failed = false;
        while !session.is_idle() && !failed {
            let unchanged = (session.tokens(0).unwrap().to_vec(), session.completion(0).unwrap().clone());
            failed = session.step().is_err();
            if failed {
                let after = (session.tokens(0).unwrap().to_vec(), session.completion(0).unwrap().clone());
                assert_eq!(after, unchanged, "{name}");
                let rewound = format!("rewound to {}", unchanged.0.len() - 1);
                assert_eq!(session.controller().events.last(), Some(&rewound));
            }
        }
        assert!(failed, "{name} after {before:?}");
        session.controller_mut().fails = None;
        while !session.is_idle() {
            session.step().unwrap();
        }
        let (found, expected) = (session.completion(0).unwrap(), plain.completion(0).unwrap());
        assert_same(std::slice::from_ref(found), std::slice::from_ref(expected), name);
    }
    let mut watcher = Watcher { fails: Some("outcome"), panics: true, ..Watcher::default() };
    let speculation = Some(fixed(3));
    let options = GenerateOptions { max_new_tokens: 8, speculation, ..GenerateOptions::default() };
    let mut generation = generate(&model, &mut watcher, &[vec![1, 2]], options).unwrap();
    assert!(generation.next().is_some_and(|event| event.is_ok()), "the prompt's pass");
    assert!(catch_unwind(AssertUnwindSafe(|| generation.next())).is_err());
    assert!(matches!(generation.next(), Some(Err(GenerateError::Interrupted))));
    assert!(generation.next().is_none());
}

#[test]
fn drafts_that_are_accepted_are_recorded() {
    let model = small_model();
    let options = |speculation| GenerateOptions { max_new_tokens: 12, speculation, ..GenerateOptions::default() };
    let prompts = [vec![1, 2, 3]];
    let mut recorded = Recorded::new(ExitAfter(3));
    let (completions, report) =
        generate(&model, &mut recorded, &prompts, options(Some(fixed(1)))).unwrap().finish().unwrap();
    let report = report.speculation.unwrap();
    // A draft whose token was not accepted has still read a token that came out.
    assert_eq!(recorded.recording().passes(0).map(<[_]>::len), Some(report.rounds() as usize));
    let replayed = Replayed::new(recorded.recording().clone());
    let (again, _) = generate(&model, replayed, &prompts, options(Some(fixed(1)))).unwrap().finish().unwrap();
    assert_eq!(again, completions);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let model = small_model();
    let refused = |speculation, control_from| {
        let run = RunSettings { control_from, ..RunSettings::default() };
        let options = GenerateOptions { run, speculation: Some(speculation), ..GenerateOptions::default() };
        generate(&model, FullDepth, &[vec![1]], options).err().map(|error| error.to_string())
    };
    let first = ControlFrom::FirstGenerated;
    assert_eq!(refused(Speculation::default(), first), None);
    let expected = "speculation needs control from first-generated, since the full model decides about every token; found \
                    control from all";
    assert_eq!(refused(Speculation::default(), ControlFrom::All).as_deref(), Some(expected));
    assert_eq!(refused(fixed(0), first).as_deref(), Some("drafts of 0 tokens were asked for; expected 1 to 64"));
    let auto = Speculation { length: DraftLength::Auto { most: 65 }, ..Speculation::default() };
    assert_eq!(refused(auto, first).as_deref(), Some("drafts of 65 tokens were asked for; expected 1 to 64"));
}

/// Under `auto` a drafter that cannot pay is left alone after a few tries, so that the passes are those of plain decoding.
#[test]
fn drafting_that_does_not_pay_is_switched_off() {
    let model = small_model();
    let wrong = controller_fn(|site: &Site<'_>| if site.layer() == 0 { Action::Skip } else { Action::Run });
    let session = SessionOptions { speculation: Some(Speculation::default()), ..SessionOptions::default() };
    let mut session = Session::new(&model, wrong, session).unwrap();
    let sequences = if on_flex() { 20 } else { 8 };
    for id in 0..sequences {
        let options = SequenceOptions {
            max_new_tokens: 50,
            sampling: Sampling { temperature: 5.0, ..Sampling::default() },
            ..SequenceOptions::default()
        };
        session.push(id, &[id as u32, 1], options).unwrap();
        while !session.is_idle() {
            session.step().unwrap();
        }
        session.take_finished();
    }
    let report = session.report().speculation.clone().unwrap();
    assert!(report.plain_passes() > 20 * report.rounds(), "{report}");
    assert!(report.to_string().contains("off at the end") || report.rounds() == 0, "{report}");
    assert_eq!(session.report().decode.passes, report.plain_passes() + report.rounds() + report.drafts.passes);
    let decode = &session.report().decode;
    assert_eq!(decode.spent.tokens, sequences * 49);
    // The passes that did not draft are those of plain decoding.
    assert_eq!(
        decode.launches.attention,
        6 * (report.plain_passes() + report.rounds()) + report.drafts.launches.attention
    );
}

/// Under `auto`, which drafts only after some passes: several sequences at a time, of which one has a little room.
#[test]
fn auto_drafts_the_full_models_tokens() {
    let (model, tokenizer) = embedded();
    let problems = problems(&[Task::Sort, Task::Copy, Task::Add], 24, 11);
    let prompts: Vec<Vec<u32>> =
        some(&problems, 12).map(|problem| tokenizer.encode(&problem.prompt, false).unwrap()).collect();
    for (case, sampling) in some(samplings(), 1).enumerate() {
        let settings = SessionOptions {
            tokenizer: Some((&tokenizer).into()),
            speculation: Some(Speculation::default()),
            ..SessionOptions::default()
        };
        let mut session = Session::new(&model, ExitAfter(3), settings).unwrap();
        let sequence = |id: u64| SequenceOptions {
            max_new_tokens: if id.is_multiple_of(5) { 4 } else { 12 },
            sampling: sampling.clone(),
            log_probabilities: Some(2),
            ..SequenceOptions::default()
        };
        for (id, prompt) in (0..).zip(&prompts) {
            session.push(id, prompt, sequence(id)).unwrap();
            // Up to three at a time.
            while session.ids().filter(|id| session.is_running(*id)).count() > case % 3 {
                session.step().unwrap();
            }
        }
        while !session.is_idle() {
            session.step().unwrap();
        }
        let report = session.report().speculation.clone().unwrap();
        assert!(report.rounds() > 0 || !on_flex(), "{report}");
        let (mut tokens, mut layers) = (0, 0.0);
        for (id, prompt) in (0..).zip(&prompts) {
            let settings = SessionOptions { tokenizer: Some((&tokenizer).into()), ..SessionOptions::default() };
            let mut alone = Session::new(&model, FullDepth, settings).unwrap();
            alone.push(id, prompt, sequence(id)).unwrap();
            while !alone.is_idle() {
                alone.step().unwrap();
            }
            let (found, expected) = (session.completion(id).unwrap(), alone.completion(id).unwrap());
            assert_same(std::slice::from_ref(found), std::slice::from_ref(expected), &format!("{case}, sequence {id}"));
        }
        for sequence in &session.report().sequences {
            tokens += sequence.decode.tokens;
            layers += sequence.decode.executed.layers();
        }
        let decode = &session.report().decode.spent;
        assert_eq!((tokens, layers), (decode.tokens, decode.executed.layers()), "the sequences' parts");
    }
}

/// Hooks that rule out every token once a text is complete, and a drafter whose logits are no numbers: plain generation
/// never comes there, so drafts must not fail there either.
#[test]
fn drafts_beyond_the_end_and_drafts_without_a_choice_do_no_harm() {
    let model = small_model();
    let grammar: LogitsHook = Arc::new(|tokens: &[u32], logits: &mut [f32]| {
        assert!(!tokens[1..].contains(&5), "the text has ended");
        let next = if tokens.len() < 9 { 7 } else { 5 };
        logits
            .iter_mut()
            .enumerate()
            .filter(|(token, _)| *token != next)
            .for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
    });
    let run = |speculation, hook: Option<LogitsHook>, drafter: Boxed| {
        let settings = SessionOptions { speculation, ..SessionOptions::default() };
        let mut session = Session::new(&model, drafter, settings).unwrap();
        for (id, n) in [(0, 3), (1, 5)] {
            let options = SequenceOptions {
                max_new_tokens: 20,
                stop_tokens: vec![5],
                logits_hook: hook.clone(),
                log_probabilities: Some(2),
                ..SequenceOptions::default()
            };
            session.push(id, &(0..n).collect::<Vec<u32>>(), options).unwrap();
        }
        while !session.is_idle() {
            session.step().unwrap();
        }
        [0, 1].map(|id| session.completion(id).unwrap().clone())
    };
    let expected = run(None, Some(grammar.clone()), Box::new(FullDepth));
    assert!(expected.iter().all(|completion| completion.stop == Some(Stop::Token(5))));
    assert_same(&run(Some(fixed(4)), Some(grammar), Box::new(ExitAfter(2))), &expected, "a grammar");

    let expected = run(None, None, Box::new(FullDepth));
    for length in [fixed(3), Speculation::default()] {
        // Only where a position comes first, so that the keys and values are numbers in the end.
        let broken = controller_fn(|site: &Site<'_>| {
            let [rows, tokens, _] = site.hidden().dims();
            let nan = burn::tensor::Tensor::full([rows, tokens], f32::NAN, &site.hidden().device());
            if site.layer() == 3 { Decision::Gate(nan) } else { Action::Run.into() }
        });
        assert_same(&run(Some(length), None, Box::new(broken)), &expected, "no numbers");
    }
}

/// A hook that fails at one place lets the tokens before it come out, as in plain generation.
#[test]
fn an_error_comes_where_it_would_without_speculation() {
    let model = small_model();
    let hook: LogitsHook = Arc::new(|tokens: &[u32], logits: &mut [f32]| {
        if tokens.len() == 7 {
            logits.fill(f32::NEG_INFINITY);
        }
    });
    for speculation in [None, Some(fixed(4))] {
        let settings = SessionOptions { speculation, ..SessionOptions::default() };
        let mut session = Session::new(&model, FullDepth, settings).unwrap();
        let options = SequenceOptions { logits_hook: Some(hook.clone()), ..SequenceOptions::default() };
        session.push(0, &[1, 2, 3], options).unwrap();
        let error = loop {
            match session.step() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, GenerateError::Draw { sequence: 0, .. }), "{error}");
        assert_eq!(session.tokens(0).unwrap().len(), 7, "{speculation:?}");
    }
}

/// Under the rejection rule, tokens have the full model's distribution: chi-square of the second token of many sequences,
/// and of the third one, against the exact probabilities after the tokens before.
#[test]
fn rejection_keeps_the_full_models_distribution() {
    let model = small_model();
    let sampling = Sampling { temperature: 1.5, top_k: Some(6), ..Sampling::default() };
    let prompt = vec![3, 1, 4];
    let (n, batch) = (if on_flex() { 30_000 } else { 100 }, 50);
    let mut counts = BTreeMap::<Vec<u32>, BTreeMap<u32, f64>>::new();
    let mut accepted = 0;
    for first in (0..n).step_by(batch) {
        let options = GenerateOptions {
            max_new_tokens: 3,
            sampling: sampling.clone(),
            sequence_ids: (first..first + batch as u64).collect(),
            speculation: Some(Speculation { accept: Accept::Rejection, ..fixed(1) }),
            ..GenerateOptions::default()
        };
        let prompts = vec![prompt.clone(); batch];
        let (completions, report) = generate(&model, ExitAfter(4), &prompts, options).unwrap().finish().unwrap();
        accepted += report.speculation.unwrap().accepted;
        for completion in completions {
            for place in 1..3 {
                let next = counts.entry(completion.tokens[..place].to_vec()).or_default();
                *next.entry(completion.tokens[place]).or_default() += 1.0;
            }
        }
    }
    assert!(accepted > 0 && accepted < n, "{accepted} of {n}");
    let (mut chi_square, mut freedom) = (0.0, 0.0);
    for (before, next) in counts {
        let of: f64 = next.values().sum();
        let options = GenerateOptions { max_new_tokens: 1, log_probabilities: Some(6), ..GenerateOptions::default() };
        let prompts = [[&prompt[..], &before].concat()];
        let likeliest = plain(&model, &prompts, &options).remove(0).likeliest.remove(0);
        let weight = |log: f64| (log / 1.5).exp();
        let total: f64 = likeliest.iter().map(|(_, log)| weight(*log)).sum();
        for (token, log) in likeliest {
            let expected = of * weight(log) / total;
            let found = next.get(&token).copied().unwrap_or(0.0);
            chi_square += (found - expected).powi(2) / expected;
        }
        freedom += 5.0;
    }
    // Wilson and Hilferty's cube root of a chi-square is close to normal; 4 standard deviations.
    let z = ((chi_square / freedom).cbrt() - (1.0 - 2.0 / (9.0 * freedom))) / (2.0f64 / (9.0 * freedom)).sqrt();
    assert!(z < 4.0, "chi-square {chi_square} with {freedom} degrees of freedom");
}

/// Every controller drafts for SmolLM2 in f16; lengths, KV policies and ways to sample are dealt out over them. Takes long:
/// `.ci/run speculation`.
#[test]
#[ignore = "needs SmolLM2"]
fn smollm2_long_speculation() {
    let (file, tokens) = ("SmolLM2-135M-Instruct.Q4_1.gguf", 1001);
    let (model, checkpoint) = (load(file, WeightDtype::F16), Checkpoint::open(path(file)).unwrap());
    let tokenizer = checkpoint.tokenizer().unwrap();
    let encode = |text: &str| tokenizer.encode(text, false).unwrap();
    let texts = ["Once upon a time there was a fox who", "The history of the sea is", "def main():"].map(encode);
    let resources = Resources::new().texts(vec![encode(include_str!("../../docs/speculation.md"))]);
    let specs = [
        "full",
        "skip:5,9",
        "uniform:26",
        "exit:10",
        "influence:27",
        "random:27",
        "random:20,ends=free",
        "bernoulli:0.9",
        "schedule:30..20,to=400",
        "confidence:0.9,min=20",
        "entropy:1.0,min=20",
        "saturation:0.98,min=20",
        "similarity:0.98",
        "budgeted:24:bernoulli:0.9",
        "warmup:10:uniform:26",
    ];
    let lengths = [fixed(2), Speculation::default(), fixed(4), fixed(1), fixed(3)];
    let samplings = samplings();
    let mut expected = BTreeMap::<(usize, usize), Vec<Completion>>::new();
    for (case, spec) in specs.into_iter().enumerate() {
        let (prompt, sampling) = (case % texts.len(), case % samplings.len());
        let options = GenerateOptions {
            run: RunSettings { kv_policy: KvPolicy::ALL[case / 2 % 3], ..RunSettings::default() },
            max_new_tokens: tokens,
            sampling: samplings[sampling].clone(),
            tokenizer: Some(&tokenizer),
            speculation: Some(lengths[case % lengths.len()]),
            ..GenerateOptions::default()
        };
        let prompts = [texts[prompt].clone()];
        let expected = expected.entry((prompt, sampling)).or_insert_with(|| plain(&model, &prompts, &options));
        let controller = spec.parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap();
        let (found, report) = generate(&model, controller, &prompts, options).unwrap().finish().unwrap();
        assert_eq!(&found, expected, "{spec}");
        assert_eq!(found[0].tokens.len(), tokens);
        println!("{spec}: {}", report.speculation.unwrap());
    }
    // A batch of unequal prompts, whose rows accept different numbers.
    let options = GenerateOptions {
        max_new_tokens: 200,
        tokenizer: Some(&tokenizer),
        speculation: Some(fixed(3)),
        ..GenerateOptions::default()
    };
    let expected = plain(&model, &texts, &options);
    let (found, report) = generate(&model, UniformSkip::new(27), &texts, options).unwrap().finish().unwrap();
    assert_eq!(found, expected, "a batch");
    println!("a batch: {}", report.speculation.unwrap());
}
