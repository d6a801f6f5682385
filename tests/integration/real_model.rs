//! Fixed cases on SmolLM2-135M-Instruct, which run only with `--ignored` (see `main.rs`).

use crate::support::{Routes, assert_close, assert_close_to, device, masked, skipped};
use dynlayer::inference::controllers::{ExitAfter, FullDepth, UniformSkip};
use dynlayer::inference::{
    Action, ControlFrom, Controller, Decision, GenerateOptions, KvPolicy, PartialSkips, Row, RunSettings, ScoreItem,
    ScoreOptions, ScoredSequence, SequenceOptions, Session, SessionOptions, Site, controller_fn, generate, score,
    score_batch,
};
use dynlayer::model::text::{ChatMessage, Tokenizer};
use dynlayer::model::{Adapter, Checkpoint, Llama, WeightDtype};
use std::path::PathBuf;
use std::time::Instant;

pub fn path(part: &str) -> PathBuf {
    let folder = std::env::var_os("DYNLAYER_MODEL").expect("DYNLAYER_MODEL names the folder of get_smollm2.sh");
    PathBuf::from(folder).join(part)
}

pub fn load(part: &str, dtype: WeightDtype) -> Llama {
    Checkpoint::open(path(part)).unwrap().load(dtype, &device(), |_| {}).unwrap()
}

/// Returns routes that change from token to token, drawn from a linear congruential sequence.
fn routes(seed: u64, tokens: usize, layers: usize) -> Routes {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let action = |draw: u64| match draw % 10 {
        0..=4 => Action::Run,
        5..=7 => Action::Skip,
        8 => Action::SkipAttention,
        _ => Action::SkipMlp,
    };
    (0..tokens).map(|_| (0..layers).map(|_| action(draw())).collect()).collect()
}

#[test]
#[ignore = "needs SmolLM2"]
fn real_model_skipped_equals_masked() {
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let tokenizer = Checkpoint::open(path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap().tokenizer().unwrap();
    let prompt = tokenizer.encode("The quick brown fox jumps over the lazy dog and", false).unwrap();
    let continuation = tokenizer.encode(" then it sleeps until the evening, as", false).unwrap();
    let options = ScoreOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        ..ScoreOptions::default()
    };
    for seed in 0..50 {
        let routes = routes(seed, continuation.len(), model.config().n_layers);
        let found = skipped(&model, &routes, &prompt, &continuation, &options);
        assert_close(&found, &masked(&model, &routes, &prompt, &continuation, false, false));
    }
}

/// KV policies and batches on a few fixed cases, against the masked reference, to the usual tolerance. Deferred tokens
/// and batches are summed in another order, whose rounding grows over 30 layers where some are skipped: to 1e-4 of the
/// largest logit.
#[test]
#[ignore = "needs SmolLM2"]
fn real_model_policies_and_batches_agree() {
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let layers = model.config().n_layers;
    let items: Vec<ScoreItem> = [(300, 12, 5), (5000, 4, 7), (900, 20, 3), (42, 9, 6)]
        .map(|(from, prompt, continuation)| ScoreItem {
            prompt: (from..from + prompt).collect(),
            continuation: (2 * from..2 * from + continuation).collect(),
        })
        .to_vec();
    let all: Vec<Routes> = (0..4).map(|row| routes(100 + row, 5, layers)).collect();
    let controller = || {
        controller_fn(|site: &Site<'_>| {
            let action = |row: &Row| all[row.id as usize][row.generated % 5][site.layer()];
            Decision::per_row(site.rows().iter().map(action))
        })
    };
    let logits = |s: &ScoredSequence| s.tokens.iter().map(|t| t.logits.clone()).collect::<Vec<_>>();
    let mut propagated = Vec::new();
    for kv_policy in KvPolicy::ALL {
        let options = |sequence_ids, partial_skips| ScoreOptions {
            run: RunSettings {
                control_from: ControlFrom::LastPromptToken,
                kv_policy,
                partial_skips,
                ..RunSettings::default()
            },
            keep_logits: true,
            sequence_ids,
            ..ScoreOptions::default()
        };
        for (i, item) in items.iter().enumerate() {
            let alone = options(vec![i as u64], PartialSkips::default());
            let (alone, _) = score(&model, controller(), &item.prompt, &item.continuation, &alone).unwrap();
            let holes = kv_policy == KvPolicy::Omit;
            let expected = masked(&model, &all[i], &item.prompt, &item.continuation, false, holes);
            assert_close(&logits(&alone), &expected);
            match kv_policy {
                KvPolicy::Propagate => propagated.push(logits(&alone)),
                KvPolicy::Deferred => assert_close_to(&logits(&alone), &propagated[i], 1e-4),
                _ => {}
            }
            for partial_skips in [PartialSkips::RunAll, PartialSkips::Gather] {
                let together = score_batch(&model, controller(), &items, &options(vec![], partial_skips)).unwrap();
                assert_close_to(&logits(&together.sequences[i]), &logits(&alone), 1e-4);
            }
        }
    }
}

/// One pass over the text agrees with one pass per token. At full depth only: where layers are skipped, the rounding of
/// another summation order grows to 1e-4 of the largest logit.
#[test]
#[ignore = "needs SmolLM2"]
fn real_model_cached_equals_uncached() {
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let full = vec![vec![Action::Run; model.config().n_layers]];
    let (prompt, continuation): (Vec<u32>, Vec<u32>) = ((400..420).collect(), (700..712).collect());
    let options = ScoreOptions {
        run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
        ..ScoreOptions::default()
    };
    let found = skipped(&model, &full, &prompt, &continuation, &options);
    assert_close(&found, &masked(&model, &full, &prompt, &continuation, true, false));
}

#[test]
#[ignore = "needs SmolLM2"]
fn real_model_tokenizers_of_both_formats_agree() {
    let open = |part: &str| Checkpoint::open(path(part)).unwrap().tokenizer().unwrap();
    let (gguf, folder) = (open("SmolLM2-135M-Instruct.Q4_1.gguf"), open("hf"));
    for text in [
        "",
        "Hello,  world 2026!",
        "naïve façade 😀 \u{301}",
        "fn main() {\n\tprintln!(\"{:?}\", 1_000);\n}",
        "<|im_start|>user\n",
    ] {
        let ids = gguf.encode(text, false).unwrap();
        assert_eq!(ids, folder.encode(text, false).unwrap(), "{text:?}");
        assert_eq!(gguf.decode(&ids, false).unwrap(), text);
    }
}

/// The answers to a conversation, turn by turn, from a session that steps until it is idle. Prints the time to the first
/// token of every turn.
fn converse<C: Controller>(
    session: &mut Session<'_, C>,
    tokenizer: &Tokenizer,
    id: u64,
    turns: &[&str],
) -> Vec<String> {
    let template = tokenizer.chat_template().unwrap().unwrap();
    let options = SequenceOptions { max_new_tokens: 24, stop_tokens: vec![2], ..SequenceOptions::default() };
    let mut messages = Vec::new();
    let mut answers = Vec::new();
    for (turn, message) in turns.iter().enumerate() {
        messages.push(ChatMessage::user(*message));
        let tokens = tokenizer.encode(&template.render(&messages, true).unwrap(), false).unwrap();
        let started = Instant::now();
        let kept = if turn == 0 {
            session.push(id, &tokens, options.clone()).unwrap();
            0
        } else {
            session.resume(id, &tokens).unwrap()
        };
        let mut first = None;
        while !session.is_idle() {
            if session.step().unwrap().iter().any(|event| event.sequence == id) {
                first.get_or_insert_with(|| started.elapsed());
            }
        }
        let answer = session.completion(id).unwrap().text.clone();
        let (new, ms) = (tokens.len() - kept, first.unwrap().as_secs_f64() * 1e3);
        println!("turn {}: {new} new tokens after {kept}, first token after {ms:.0} ms: {answer:?}", turn + 1);
        messages.push(ChatMessage::assistant(&answer));
        answers.push(answer);
    }
    answers
}

#[test]
#[ignore = "needs SmolLM2"]
fn real_model_conversations_continue_from_the_cache() {
    let checkpoint = Checkpoint::open(path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let turns = ["France", "Spain", "Italy", "Greece", "Norway", "Peru", "Japan", "Egypt"]
        .map(|country| format!("What is the capital of {country}?"));
    let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
    let options = |control_from| SessionOptions {
        run: RunSettings { control_from, ..RunSettings::default() },
        tokenizer: Some((&tokenizer).into()),
        ..SessionOptions::default()
    };

    // At full depth the answers are those of a new session per turn.
    let mut session = Session::new(&model, FullDepth, options(ControlFrom::FirstGenerated)).unwrap();
    let answers = converse(&mut session, &tokenizer, 0, &turns);
    let template = tokenizer.chat_template().unwrap().unwrap();
    let mut messages = Vec::new();
    for (turn, answer) in turns.iter().zip(&answers) {
        messages.push(ChatMessage::user(*turn));
        let prompt = tokenizer.encode(&template.render(&messages, true).unwrap(), false).unwrap();
        let generate_options = GenerateOptions {
            max_new_tokens: 24,
            stop_tokens: vec![2],
            tokenizer: Some(&tokenizer),
            ..GenerateOptions::default()
        };
        let (scratch, _) = generate(&model, FullDepth, &[prompt], generate_options).unwrap().finish().unwrap();
        assert_eq!(&scratch[0].text, answer);
        messages.push(ChatMessage::assistant(answer));
    }

    // Under a controller they are those of the same turns in a session of their own.
    let controlled = || UniformSkip::new(27);
    for control_from in [ControlFrom::FirstGenerated, ControlFrom::All] {
        let mut alone = Session::new(&model, controlled(), options(control_from)).unwrap();
        let expected = converse(&mut alone, &tokenizer, 0, &turns);
        let mut shared = Session::new(&model, controlled(), options(control_from)).unwrap();
        let long = SequenceOptions { max_new_tokens: 60, ..SequenceOptions::default() };
        for id in [7, 8] {
            shared.push(id, &[1, 4093, 198, 5 + id as u32, 260], long.clone()).unwrap();
        }
        shared.step().unwrap();
        assert_eq!(converse(&mut shared, &tokenizer, 0, &turns), expected);
    }
}

/// A case of `tests/integration/fixtures/smollm2_depth.json`, which `tests/reference/depth_adapter.py` writes: the largest
/// logits after the last token of a prompt and so many layers.
#[derive(serde::Deserialize)]
struct OfPeft {
    prompt: Vec<u32>,
    layers: usize,
    ids: Vec<usize>,
    logits: Vec<f32>,
}

/// SmolLM2, and beside its weights the adapter of `assets/smollm2-depth`, with the cases for it.
fn with_depth_adapter() -> (Llama, Llama, Vec<OfPeft>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(root.join("tests/integration/fixtures/smollm2_depth.json")).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let cases: Vec<OfPeft> = serde_json::from_value(file["expected"].take()).unwrap();
    assert_eq!(cases.len(), 6);
    let model = load("hf", WeightDtype::F32);
    let adapter = Adapter::open(root.join("assets/smollm2-depth"), &model).unwrap();
    let beside = model.adapted(&adapter).unwrap();
    (model, beside, cases)
}

/// The adapter against `peft`, at full depth and after ten layers, beside the weights and merged.
#[test]
#[ignore = "needs SmolLM2"]
fn real_model_adapter_equals_peft() {
    let (_, beside, cases) = with_depth_adapter();
    for model in [&beside, &beside.merged()] {
        for OfPeft { prompt, layers, ids, logits } in &cases {
            let mut cache = model.cache(1, prompt.len());
            let frame = model.frame(&cache, &[0], &[(0..prompt.len()).collect()]);
            let mut hidden = model.embed(model.tokens(&[prompt]));
            for (layer, block) in model.layers().iter().enumerate().take(*layers) {
                hidden = block.forward(hidden, &frame, cache.layer_mut(layer));
            }
            let last = hidden.narrow(1, prompt.len() - 1, 1);
            let found = model.logits(last).into_data().try_into_vec_as::<f32>().unwrap();
            let found: Vec<f32> = ids.iter().map(|id| found[*id]).collect();
            assert_close_to(&[found], std::slice::from_ref(logits), 1e-4);
        }
    }
}

/// Ten layers with the adapter answer commands in sentences that were not trained; without it they say nothing of the kind.
#[test]
#[ignore = "needs SmolLM2"]
fn real_model_answers_with_a_third_of_its_layers() {
    let (model, beside, cases) = with_depth_adapter();
    let checkpoint = Checkpoint::open(path("hf")).unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    let prompts: Vec<Vec<u32>> = cases.into_iter().filter(|case| case.layers == 10).map(|case| case.prompt).collect();
    let answers = |model: &Llama| -> Vec<String> {
        let options = GenerateOptions {
            run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
            max_new_tokens: 40,
            stop_tokens: checkpoint.stop_tokens(&tokenizer).unwrap(),
            stop_strings: vec!["\n".into()],
            tokenizer: Some(&tokenizer),
            ..GenerateOptions::default()
        };
        let (completions, _) = generate(model, ExitAfter(10), &prompts, options).unwrap().finish().unwrap();
        completions.into_iter().map(|completion| completion.text).collect()
    };
    let right = |device, room, value| format!(r#"{{"device": "{device}", "room": "{room}", "set_to": "{value}"}}"#);
    let expected =
        [right("tablet", "cellar", "off"), right("projector", "chapel", "27"), right("camera", "hall", "on")];
    assert_eq!(answers(&beside.merged()), expected);
    assert!(answers(&model).iter().all(|text| !text.contains("device")));
}
