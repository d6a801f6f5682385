//! The `SentencePiece` path against `SentencePiece` itself; `tests/fixtures/spm/make.py` made the fixture.

use serde::Deserialize;

use crate::text::{GgufTokenizerData, StreamDecoder, TextError, Tokenizer};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/spm/tiny.json");

#[derive(Deserialize)]
struct Fixture {
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<i32>,
    cases: Vec<(String, Vec<u32>)>,
    decoded: Vec<(Vec<u32>, String)>,
}

fn fixture() -> Fixture {
    serde_json::from_slice(&std::fs::read(FIXTURE).unwrap()).unwrap()
}

fn data(fixture: &Fixture) -> GgufTokenizerData {
    GgufTokenizerData {
        model: "llama".to_owned(),
        tokens: fixture.tokens.clone(),
        scores: Some(fixture.scores.clone()),
        token_types: Some(fixture.token_types.clone()),
        ..GgufTokenizerData::default()
    }
}

pub(super) fn tokenizer() -> Tokenizer {
    data(&fixture()).build().unwrap()
}

#[test]
fn ids_are_those_of_sentencepiece() {
    let fixture = fixture();
    let tokenizer = data(&fixture).build().unwrap();
    let mut wrong = Vec::new();
    for (text, ids) in &fixture.cases {
        let found = tokenizer.encode(text, false).unwrap();
        if &found != ids {
            wrong.push(format!("{text:?}: {found:?}, not {ids:?}"));
        }
        let framed = tokenizer.encode(text, true).unwrap();
        assert_eq!((framed[0], &framed[1..]), (1, found.as_slice()), "a text starts with <s>");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), fixture.cases.len(), wrong.join("\n"));
}

#[test]
fn decoded_texts_are_those_of_sentencepiece() {
    let fixture = fixture();
    let tokenizer = data(&fixture).build().unwrap();
    for (ids, text) in &fixture.decoded {
        assert_eq!(&tokenizer.decode(ids, true).unwrap(), text);
    }
}

#[test]
fn control_tokens_in_a_text_are_found_and_the_prefix_follows_them() {
    let tokenizer = tokenizer();
    let hello = tokenizer.encode("hello", false).unwrap();
    let ids = tokenizer.encode("<s>hello</s>hello", false).unwrap();
    assert_eq!(ids, [&[1], hello.as_slice(), &[2], hello.as_slice()].concat());
    assert!(tokenizer.is_special(0) && tokenizer.is_special(1) && tokenizer.is_special(2) && !tokenizer.is_special(3));
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "hello hello");
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)));
}

#[test]
fn the_space_prefix_can_be_off() {
    let fixture = fixture();
    let tokenizer =
        GgufTokenizerData { add_space_prefix: Some(false), add_bos: Some(false), ..data(&fixture) }.build().unwrap();
    let with_space = self::tokenizer().encode("hello", false).unwrap();
    assert_eq!(tokenizer.encode(" hello", true).unwrap(), with_space);
    assert_eq!(tokenizer.decode(&with_space, false).unwrap(), " hello");
}

#[test]
fn a_broken_run_of_bytes_streams_as_it_decodes() {
    let tokenizer = tokenizer();
    let byte = |value: u32| 3 + value;
    let smile = [0xF0, 0x9F, 0x98, 0x80].map(byte);
    for ids in [smile.to_vec(), [&smile[..], &[byte(0xFF)]].concat(), smile[..3].to_vec()] {
        let mut stream = StreamDecoder::new(&tokenizer, true);
        let mut text = String::new();
        for &id in &ids {
            text.extend(stream.push(id).unwrap());
        }
        text.extend(stream.finish().unwrap());
        assert_eq!(text, tokenizer.decode(&ids, true).unwrap());
    }
}

#[test]
fn scores_must_be_there_and_be_numbers() {
    let fixture = fixture();
    let none = GgufTokenizerData { scores: None, ..data(&fixture) }.build();
    assert!(matches!(none, Err(TextError::MissingField { field: "tokenizer.ggml.scores", .. })), "{none:?}");
    let mut scores = fixture.scores.clone();
    scores[300] = f32::NAN;
    let nan = GgufTokenizerData { scores: Some(scores), ..data(&fixture) }.build();
    assert!(matches!(&nan, Err(TextError::Invalid { field, .. }) if field == "tokenizer.ggml.scores[300]"), "{nan:?}");
}
