//! Options that users write: unknown fields, stop strings, penalties, and the settings that a recording was made under.

use crate::controllers::chain;
use crate::support::{SMALL, config, device, small};
use dynlayer::inference::controllers::{FullDepth, Recorded, Recording, Replayed, UniformSkip};
use dynlayer::inference::oracle::Item;
use dynlayer::inference::sampling::{Sampling, SamplingError};
use dynlayer::inference::{
    Completion, ControlFrom, Controller, GenerateError, GenerateOptions, RunSettings, SequenceOptions, Session,
    SessionOptions, Stop, generate,
};
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_tiny as tiny;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that the JSON of a value is read, and refused with a field more.
#[track_caller]
fn refuses_unknown_fields<T: Serialize + DeserializeOwned>(value: &T) {
    let mut json = serde_json::to_value(value).unwrap();
    assert!(serde_json::from_value::<T>(json.clone()).is_ok(), "{json}");
    json["topk"] = 5.into();
    let error = serde_json::from_value::<T>(json).err().expect("a field too many").to_string();
    assert!(error.contains("unknown field `topk`"), "{error}");
}

#[test]
fn unknown_fields_are_refused() {
    refuses_unknown_fields(&Sampling::default());
    refuses_unknown_fields(&RunSettings::default());
    refuses_unknown_fields(&Item::default());
    let config = config(SMALL);
    refuses_unknown_fields(&config.rope);
    refuses_unknown_fields(&config.attention_bias);
    refuses_unknown_fields(&config);
}

#[cfg(feature = "training")]
#[test]
fn unknown_fields_of_trainings_are_refused() {
    use dynlayer::inference::training::{
        DepthLoss, ExitLoss, LayerDropout, RouterTraining, SkipTuning, TrainerOptions,
    };
    let training = RouterTraining::new(10, 0.1, DepthLoss::budget(3.0));
    refuses_unknown_fields(&training);
    refuses_unknown_fields(&training.temperature);
    refuses_unknown_fields(&training.trainer.rate);
    refuses_unknown_fields(&training.trainer.adamw);
    refuses_unknown_fields(&TrainerOptions::new(10, 0.1));
    refuses_unknown_fields(&SkipTuning::new([1], training.trainer));
    refuses_unknown_fields(&LayerDropout::default());
    refuses_unknown_fields(&ExitLoss { scale: 0.5, rotation: 2 });
}

/// The text of the embedded model's token that ends an answer.
const END: &str = "<|end|>";

fn embedded() -> (Llama, Tokenizer) {
    let checkpoint = tiny::checkpoint().unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    (checkpoint.load(WeightDtype::F32, &device(), |_| ()).unwrap(), tokenizer)
}

fn answer(model: &Llama, options: GenerateOptions<'_>) -> Result<Completion, GenerateError> {
    let prompt = options.tokenizer.unwrap().encode("sort 312=", false).unwrap();
    let (mut completions, _) = generate(model, FullDepth, &[prompt], options)?.finish()?;
    Ok(completions.remove(0))
}

#[test]
fn the_spelling_of_a_special_token_stops_at_the_token() {
    let (model, tokenizer) = embedded();
    let end = tokenizer.token_to_id(END).unwrap();
    let run = |stop_tokens: Vec<u32>, strings: &[&str]| {
        let stop_strings = strings.iter().map(ToString::to_string).collect();
        answer(&model, GenerateOptions { stop_tokens, stop_strings, ..tiny::options(&tokenizer) })
    };
    let by_token = run(vec![end], &[]).unwrap();
    assert!(by_token.tokens.len() > 1 && by_token.tokens.last() == Some(&end), "{by_token:?}");
    assert_eq!(by_token.stop, Some(Stop::Token(end)));
    let by_string = run(vec![], &[END]).unwrap();
    assert_eq!(by_string.stop, Some(Stop::String(END.into())));
    assert_eq!((&by_string.text, &by_string.tokens), (&by_token.text, &by_token.tokens));
    // Text that was held back as the possible beginning of another stop string comes out.
    let beginning = format!("{}x", by_token.text.chars().last().unwrap());
    assert_eq!(run(vec![], &[&beginning, END]).unwrap(), by_string);
    assert_eq!(run(vec![end], &[END]).unwrap(), by_token);
    assert!(run(vec![], &["<|unknown|>"]).unwrap().tokens.len() > by_token.tokens.len());

    let error = run(vec![], &["x", "a<|end|>"]).unwrap_err();
    assert!(matches!(&error, GenerateError::SpecialInStopString { index: 1, token } if token == END), "{error}");
    let options = SessionOptions { tokenizer: Some((&tokenizer).into()), ..SessionOptions::default() };
    let mut session = Session::new(&model, FullDepth, options).unwrap();
    let stops = |stop: &str| SequenceOptions {
        max_new_tokens: 12,
        stop_strings: vec![stop.into()],
        ..SequenceOptions::default()
    };
    let prompt = tokenizer.encode("sort 312=", false).unwrap();
    let error = session.push(0, &prompt, stops("<|end|>\n")).unwrap_err();
    assert!(matches!(error, GenerateError::SpecialInStopString { index: 0, .. }), "{error}");
    // A sequence can be given the stop string when it is already generating.
    session.push(0, &prompt, stops("x")).unwrap();
    session.step().unwrap();
    session.set_options(0, stops(END)).unwrap();
    while !session.is_idle() {
        session.step().unwrap();
    }
    assert_eq!(session.completion(0).unwrap().text, by_token.text);
}

#[test]
fn a_repetition_penalty_that_overflows_ends_the_run() {
    let (model, tokenizer) = embedded();
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, repetition_penalty: 1e-40, ..Sampling::default() };
        let error = answer(&model, GenerateOptions { sampling, ..tiny::options(&tokenizer) }).unwrap_err();
        let GenerateError::Draw { sequence: 0, source } = &error else { panic!("{error}") };
        assert!(matches!(source, SamplingError::Penalty { .. }), "{source}");
        assert!(chain(&error).contains("the repetition penalty 1e-40 makes the logit of token"), "{source}");
    }
}

fn follow(model: &Llama, controller: impl Controller, run: RunSettings) -> Result<Vec<Completion>, GenerateError> {
    let options = GenerateOptions { run, max_new_tokens: 3, ..GenerateOptions::default() };
    Ok(generate(model, controller, &[vec![1, 2, 3, 4, 5, 6, 7]], options)?.finish()?.0)
}

#[test]
fn a_replay_needs_the_settings_of_its_recording() {
    let model = small(&device());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    for recorded_from in ControlFrom::ALL {
        let mut recorded = Recorded::new(UniformSkip::new(3));
        let run = RunSettings { control_from: recorded_from, prefill_chunk: 4, ..RunSettings::default() };
        let first = follow(&model, &mut recorded, run).unwrap();
        recorded.recording().save(&path).unwrap();
        let recording = Recording::load(&path).unwrap();
        assert_eq!(recording.control_from(), Some(recorded_from));
        for control_from in ControlFrom::ALL {
            let again = follow(&model, Replayed::new(recording.clone()), RunSettings { control_from, ..run });
            if control_from == recorded_from {
                assert_eq!(again.unwrap(), first);
            } else {
                let error = chain(&again.unwrap_err());
                let expected = format!("made with control_from {recorded_from}; this run has {control_from}");
                assert!(error.contains(&expected), "{error}");
            }
        }
        // Where the prompt is not controlled, its chunks are no passes of the recording.
        let chunked = follow(&model, Replayed::new(recording), RunSettings { prefill_chunk: 3, ..run });
        match recorded_from {
            ControlFrom::All => {
                let error = chain(&chunked.unwrap_err());
                assert!(error.contains("made with prefill_chunk 4; this run has 3"), "{error}");
            }
            _ => assert_eq!(chunked.unwrap(), first),
        }
    }
}

#[test]
fn a_recording_without_settings_fits_any_start_of_control() {
    let model = small(&device());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.json");
    let pass = r#"["run", "skip", "run", "skip-mlp", "run"]"#;
    let json = format!(r#"{{"version": 1, "n_layers": 5, "sequences": {{"0": [{pass}, {pass}, ["exit"], {pass}]}}}}"#);
    std::fs::write(&path, json).unwrap();
    let recording = Recording::load(&path).unwrap();
    assert_eq!(recording.control_from(), None);
    for control_from in ControlFrom::ALL {
        let run = RunSettings { control_from, ..RunSettings::default() };
        follow(&model, Replayed::new(recording.clone()), run).unwrap();
    }
    recording.save(&path).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains("control_from"));
}
