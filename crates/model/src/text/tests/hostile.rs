//! Malformed tokenizers: an error, never a panic that gets out.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{bpe_data, folder};
use crate::text::{GgufTokenizerData, TextError, Tokenizer};

fn with(path: &str, value: Value) -> Result<Tokenizer, TextError> {
    let mut json = folder::tokenizer_json();
    *json.pointer_mut(path).unwrap() = value;
    Tokenizer::from_json(json.to_string().as_bytes(), "tokenizer.json")
}

#[test]
fn the_library_never_sees_what_it_would_panic_on() {
    for (path, value) in [
        ("/model/merges", json!([["a", "x"]])),
        ("/model/merges", json!([["ab", "ab"]])),
        ("/model/merges", json!(["a"])),
        ("/model/merges", json!([["a"]])),
        ("/model/merges", json!("a b")),
        ("/model/continuing_subword_prefix", json!("##")),
        ("/model/continuing_subword_prefix", json!(3)),
        ("/model/vocab", json!([])),
        ("/model/vocab", json!({"a": 0, "b": 0, "ab": 2, "<s>": 3, "</s>": 4})),
        ("/model/vocab", json!({"a": 0, "b": -1, "ab": 2, "<s>": 3, "</s>": 4})),
        ("/model", json!([])),
        ("/post_processor/special_tokens", json!({})),
        ("/post_processor/single/0/SpecialToken/id", json!("<x>")),
        ("/decoder", json!(5)),
        ("/normalizer", json!("NFC")),
        ("/added_tokens/1/id", json!(77)),
        ("/added_tokens/0/id", json!(0)),
    ] {
        let error = with(path, value.clone()).unwrap_err();
        assert!(matches!(error, TextError::Invalid { .. }), "{path} {value}: {error:?}");
    }
    let error = with("/model/vocab", json!({})).unwrap_err();
    assert!(matches!(error, TextError::Invalid { .. }), "{error:?}");
}

#[test]
fn truncated_files_are_not_json() {
    let json = folder::tokenizer_json().to_string();
    for end in 0..json.len() {
        let error = Tokenizer::from_json(&json.as_bytes()[..end], "tokenizer.json").unwrap_err();
        assert!(matches!(error, TextError::Json { .. }), "{end}: {error:?}");
    }
}

/// The regular expression exceeds its engine's limit of retries, and the library panics.
#[test]
fn an_expression_that_explodes_is_an_error() {
    let split =
        json!({"type": "Split", "pattern": {"Regex": "(?:(?:a+)+)+$x"}, "behavior": "Isolated", "invert": false});
    let tokenizer = with("/pre_tokenizer", split).unwrap();
    let text = format!("{}b", "a".repeat(60));
    if let Err(error) = tokenizer.encode(&text, false) {
        assert!(matches!(error, TextError::Panicked { .. } | TextError::Encode { .. }), "{error:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u32..9).prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        prop_oneof![
            Just("a"),
            Just("ab"),
            Just("BPE"),
            Just("Sequence"),
            Just("WordPiece"),
            Just("Unigram"),
            Just("NFC"),
            Just("Strip")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop_oneof![Just("type".to_owned()), "[a-z]{1,4}"], inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                places(inner, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                places(inner, format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
    out.push(at);
}

/// Reads it, and uses it if it was accepted; any error will do.
fn survive(json: &[u8]) -> Result<(), TextError> {
    let tokenizer = Tokenizer::from_json(json, "tokenizer.json")?;
    let ids = tokenizer.encode("ab <s> b\u{e9}", true)?;
    tokenizer.decode(&ids, true)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_changed_field_is_an_error_or_works(place: prop::sample::Index, value in any_json()) {
        let mut json = folder::tokenizer_json();
        let mut all = Vec::new();
        places(&json, String::new(), &mut all);
        *json.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        let _ = survive(json.to_string().as_bytes());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_works(place: prop::sample::Index, bit in 0..8) {
        let mut json = folder::tokenizer_json().to_string().into_bytes();
        let at = place.index(json.len());
        json[at] ^= 1_u8 << bit;
        let _ = survive(&json);
    }
}

fn refused(change: impl FnOnce(&mut GgufTokenizerData)) {
    let mut data = bpe_data("gpt-2");
    change(&mut data);
    let error = data.build().unwrap_err();
    assert!(matches!(error, TextError::Invalid { .. }), "{error:?}");
}

#[test]
fn gguf_lists_that_disagree_are_refused() {
    refused(|data| data.tokens.clear());
    refused(|data| data.token_types.as_mut().unwrap().truncate(3));
    refused(|data| data.scores = Some(vec![0.0; 3]));
    refused(|data| data.token_types.as_mut().unwrap()[0] = 9);
    refused(|data| data.token_types.as_mut().unwrap()[0] = 6);
    refused(|data| data.tokens[1] = data.tokens[0].clone());
    refused(|data| data.bos = Some(u32::MAX));
    refused(|data| data.pad = Some(267));
    for merge in ["", " ", "a", "a ", " a", "a b", "hello hello", "nothing here", "h e l"] {
        refused(|data| data.merges.as_mut().unwrap().push(merge.to_owned()));
    }
    let none = GgufTokenizerData { merges: None, ..bpe_data("gpt-2") }.build();
    assert!(matches!(none, Err(TextError::MissingField { field: "tokenizer.ggml.merges", .. })), "{none:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_gguf_metadata_is_an_error_or_works(
        tokens in vec(prop_oneof!["[abĠ▁]{0,3}", "\\PC{0,4}", "<0x[0-9A-F]{2}>"], 0..12),
        types in prop::option::of(vec(-1_i32..8, 0..12)),
        scores in prop::option::of(vec(any::<f32>(), 0..12)),
        merges in prop::option::of(vec("[ab]{0,2} ?[ab]{0,2}", 0..4)),
        ids in vec(prop::option::of(0_u32..14), 4),
        flags in vec(any::<Option<bool>>(), 3),
        is_spm: bool,
        fit: bool,
    ) {
        let count = tokens.len();
        // Lists of the right length get further.
        let (types, scores) = if fit {
            (types.map(|mut list| { list.resize(count, 1); list }), Some(vec![0.5; count]))
        } else {
            (types, scores)
        };
        let data = GgufTokenizerData {
            model: (if is_spm { "llama" } else { "gpt2" }).to_owned(),
            pre: Some("smollm".to_owned()),
            tokens, token_types: types, scores, merges,
            bos: ids[0], eos: ids[1], unk: ids[2], pad: ids[3],
            add_bos: flags[0], add_eos: flags[1], add_space_prefix: flags[2],
            chat_template: None,
        };
        match data.build() {
            Err(error) => prop_assert!(!matches!(error, TextError::Panicked { .. }), "{:?}", error),
            Ok(tokenizer) => {
                let ids = tokenizer.encode("ab  ba \u{e9}", true);
                if let Ok(ids) = ids {
                    tokenizer.decode(&ids, false).unwrap();
                }
            }
        }
    }
}
