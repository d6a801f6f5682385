//! Tests that compare tokenizers made from `SentencePiece` models with `SentencePiece` itself.

use crate::text::tests::{spm_data, spm_fixture, spm_tokenizer};
use crate::text::{GgufTokenizerData, StreamDecoder, TextErrorKind};

#[test]
fn ids_are_those_of_sentencepiece() {
    let fixture = spm_fixture();
    let tokenizer = spm_data(&fixture).build().unwrap();
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
    let fixture = spm_fixture();
    let tokenizer = spm_data(&fixture).build().unwrap();
    assert!(fixture.decoded.len() >= 200);
    for (ids, text) in &fixture.decoded {
        assert_eq!(&tokenizer.decode(ids, true).unwrap(), text);
    }
}

#[test]
fn control_tokens_in_a_text_are_found_and_the_prefix_follows_them() {
    let tokenizer = spm_tokenizer();
    let hello = tokenizer.encode("hello", false).unwrap();
    let ids = tokenizer.encode("<s>hello</s>hello", false).unwrap();
    assert_eq!(ids, [&[1], hello.as_slice(), &[2], hello.as_slice()].concat());
    assert!(tokenizer.is_special(0) && tokenizer.is_special(1) && tokenizer.is_special(2) && !tokenizer.is_special(3));
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "hello hello");
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)));
}

#[test]
fn the_space_prefix_can_be_off() {
    let fixture = spm_fixture();
    let tokenizer = GgufTokenizerData { add_space_prefix: Some(false), add_bos: Some(false), ..spm_data(&fixture) }
        .build()
        .unwrap();
    let with_space = spm_tokenizer().encode("hello", false).unwrap();
    assert_eq!(tokenizer.encode(" hello", true).unwrap(), with_space);
    assert_eq!(tokenizer.decode(&with_space, false).unwrap(), " hello");
}

#[test]
fn a_broken_run_of_bytes_streams_as_it_decodes() {
    let tokenizer = spm_tokenizer();
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
    let fixture = spm_fixture();
    let none = GgufTokenizerData { scores: None, ..spm_data(&fixture) }.build();
    assert!(
        matches!(none.as_ref().unwrap_err().kind(), TextErrorKind::MissingField { field: "tokenizer.ggml.scores", .. }),
        "{none:?}"
    );
    let mut scores = fixture.scores.clone();
    scores[300] = f32::NAN;
    let nan = GgufTokenizerData { scores: Some(scores), ..spm_data(&fixture) }.build();
    assert!(
        matches!(nan.as_ref().unwrap_err().kind(), TextErrorKind::Invalid { field, .. } if field == "tokenizer.ggml.scores[300]"),
        "{nan:?}"
    );
}
