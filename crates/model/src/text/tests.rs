//! Fixtures for the tests of this module, and tests that malformed tokenizers give errors and never a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::text::{GgufTokenizerData, SpecialTokens, TextError, TextErrorKind, Tokenizer};

/// GPT-2's alphabet, in the order of the bytes.
pub(super) fn alphabet() -> Vec<String> {
    let mut other = 0x100;
    (0..=255_u32)
        .map(|byte| {
            let code = match byte {
                0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte,
                _ => {
                    other += 1;
                    other - 1
                }
            };
            char::from_u32(code).unwrap().to_string()
        })
        .collect()
}

/// A byte-level BPE: ids 0 to 255 are the bytes, then a few merges, two control tokens and a user-defined token.
pub(super) fn bpe_data(pre: &str) -> GgufTokenizerData {
    let mut tokens = alphabet();
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ċ Ċ", "1 2", "ð Ł"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.extend(["<|im_start|>", "<|im_end|>", "<tool>"].map(str::to_owned));
    let count = tokens.len();
    let mut token_types = vec![1; count];
    token_types[count - 3..].copy_from_slice(&[3, 3, 4]);
    GgufTokenizerData {
        model: "gpt2".to_owned(),
        pre: Some(pre.to_owned()),
        merges: Some(merges.map(str::to_owned).to_vec()),
        token_types: Some(token_types),
        bos: u32::try_from(count - 3).ok(),
        eos: u32::try_from(count - 2).ok(),
        tokens,
        ..GgufTokenizerData::default()
    }
}

pub(super) fn bpe_tokenizer() -> Tokenizer {
    bpe_data("smollm").build().unwrap()
}

/// The `tokenizer.json` of a byte-level BPE of six tokens.
pub(super) fn tokenizer_json() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [
            {"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 5, "content": "<new>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false},
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3, "</s>": 4},
            "merges": [["a", "b"]],
        },
    })
}

const SPM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/spm/tiny.json");

/// A `SentencePiece` model with texts, their ids, and ids with their texts; `tests/fixtures/spm/make.py` made it.
#[derive(Deserialize)]
pub(super) struct SpmFixture {
    tokens: Vec<String>,
    pub(super) scores: Vec<f32>,
    token_types: Vec<i32>,
    pub(super) cases: Vec<(String, Vec<u32>)>,
    pub(super) decoded: Vec<(Vec<u32>, String)>,
}

pub(super) fn spm_fixture() -> SpmFixture {
    serde_json::from_slice(&std::fs::read(SPM).unwrap()).unwrap()
}

pub(super) fn spm_data(fixture: &SpmFixture) -> GgufTokenizerData {
    GgufTokenizerData {
        model: "llama".to_owned(),
        tokens: fixture.tokens.clone(),
        scores: Some(fixture.scores.clone()),
        token_types: Some(fixture.token_types.clone()),
        ..GgufTokenizerData::default()
    }
}

pub(super) fn spm_tokenizer() -> Tokenizer {
    spm_data(&spm_fixture()).build().unwrap()
}

fn with(path: &str, value: Value) -> Result<Tokenizer, TextError> {
    let mut json = tokenizer_json();
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
        assert!(matches!(error.kind(), TextErrorKind::Invalid { .. }), "{path} {value}: {error:?}");
    }
    let error = with("/model/vocab", json!({})).unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Invalid { .. }), "{error:?}");
}

#[test]
fn truncated_files_are_not_json() {
    let json = tokenizer_json().to_string();
    for end in 0..json.len() {
        let error = Tokenizer::from_json(&json.as_bytes()[..end], "tokenizer.json").unwrap_err();
        assert!(matches!(error.kind(), TextErrorKind::Json(_)), "{end}: {error:?}");
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
        assert!(matches!(error.kind(), TextErrorKind::Panicked { .. } | TextErrorKind::Library(_)), "{error:?}");
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

/// Appends a JSON pointer to every place in a value.
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

/// Reads a tokenizer, and uses it if it was accepted. Any error is allowed, but no panic.
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
        let mut json = tokenizer_json();
        let mut all = Vec::new();
        places(&json, String::new(), &mut all);
        *json.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        let _ = survive(json.to_string().as_bytes());
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_works(place: prop::sample::Index, bit in 0..8) {
        let mut json = tokenizer_json().to_string().into_bytes();
        let at = place.index(json.len());
        json[at] ^= 1_u8 << bit;
        let _ = survive(&json);
    }
}

fn refused(change: impl FnOnce(&mut GgufTokenizerData)) {
    let mut data = bpe_data("gpt-2");
    change(&mut data);
    let error = data.build().unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Invalid { .. }), "{error:?}");
}

#[test]
fn gguf_lists_that_disagree_are_refused() {
    refused(|data| data.tokens.clear());
    refused(|data| data.token_types.as_mut().unwrap().truncate(3));
    refused(|data| data.scores = Some(vec![0.0; 3]));
    refused(|data| data.token_types.as_mut().unwrap()[0] = 9);
    refused(|data| data.token_types.as_mut().unwrap()[0] = 6);
    refused(|data| data.tokens[1] = data.tokens[0].clone());
    for merge in ["", " ", "a", "a ", " a", "a b", "hello hello", "nothing here", "h e l"] {
        refused(|data| data.merges.as_mut().unwrap().push(merge.to_owned()));
    }
    let none = GgufTokenizerData { merges: None, ..bpe_data("gpt-2") }.build();
    assert!(
        matches!(none.as_ref().unwrap_err().kind(), TextErrorKind::MissingField { field: "tokenizer.ggml.merges", .. }),
        "{none:?}"
    );
}

#[test]
fn gguf_ids_that_no_token_has_count_as_absent() {
    let data = GgufTokenizerData { bos: Some(267), eos: Some(u32::MAX), pad: Some(300), ..bpe_data("llama-bpe") };
    let tokenizer = data.clone().build().unwrap();
    assert_eq!(tokenizer.special_tokens(), &SpecialTokens::default());
    assert_eq!(tokenizer.encode("he", true).unwrap(), [256], "nothing stands for the absent <s>");
    let framed = GgufTokenizerData { add_eos: Some(true), ..data }.build().unwrap();
    assert_eq!(framed.encode("he", true).unwrap(), [256]);
    // SentencePiece models have ids to fall back on.
    let spm = GgufTokenizerData { bos: Some(9999), ..spm_data(&spm_fixture()) }.build().unwrap();
    assert_eq!((spm.bos_id(), spm.encode("", true).unwrap()), (Some(1), vec![1]));
}

/// A byte-level BPE with one more token, of a type that is given.
fn with_token(token: &str, kind: i32) -> Tokenizer {
    let mut data = bpe_data("gpt-2");
    data.tokens.push(token.to_owned());
    data.token_types.as_mut().unwrap().push(kind);
    data.build().unwrap()
}

#[test]
fn well_known_ends_are_found_by_their_text() {
    let (im_end, extra) = (265, 267);
    assert_eq!(bpe_tokenizer().end_ids(), [im_end]);
    for (token, kind, found) in [
        ("<|eot_id|>", 3, true),
        ("<|eot_id|>", 4, true),
        // An end whose type is missing, as in some early files.
        ("<|eot_id|>", 1, true),
        ("<|end_of_text|>", 3, true),
        ("</s>", 3, true),
        // Markup in a text.
        ("</s>", 1, false),
        ("<|start_header_id|>", 3, false),
    ] {
        let tokenizer = with_token(token, kind);
        let expected = if found { vec![im_end, extra] } else { vec![im_end] };
        assert_eq!(tokenizer.end_ids(), expected, "{token} {kind}");
        assert_eq!(tokenizer.is_special(extra), kind == 3 || found, "{token} {kind}");
        if found {
            assert_eq!(tokenizer.encode(&format!("he{token}"), false).unwrap(), [256, extra]);
        }
    }
    let mut json = tokenizer_json();
    json["added_tokens"][1]["content"] = "<|im_end|>".into();
    assert_eq!(Tokenizer::from_json(json.to_string().as_bytes(), "tokenizer.json").unwrap().end_ids(), [5]);
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
        // Lists of the right length pass the first checks.
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
            Err(error) => prop_assert!(!matches!(error.kind(), TextErrorKind::Panicked { .. }), "{:?}", error),
            Ok(tokenizer) => {
                let ids = tokenizer.encode("ab  ba \u{e9}", true);
                if let Ok(ids) = ids {
                    tokenizer.decode(&ids, false).unwrap();
                }
            }
        }
    }
}

#[test]
fn digests_tell_tokenizers_and_templates_apart() {
    let digest = |tokenizer: &Tokenizer| tokenizer.digest().unwrap();
    let json = |value: &Value| Tokenizer::from_json(value.to_string().as_bytes(), "a test").unwrap();
    let tokenizer = json(&tokenizer_json());
    assert_eq!(digest(&tokenizer), digest(&json(&tokenizer_json())));
    // The order of the vocabulary in memory must not show.
    assert_eq!(digest(&bpe_tokenizer()), digest(&bpe_tokenizer()));
    let mut special = tokenizer_json();
    special["added_tokens"][1]["special"] = json!(true);
    let role = SpecialTokens { eos: Some("<s>".into()), ..SpecialTokens::default() };
    let template = |text: &str| tokenizer.clone().with_chat(SpecialTokens::default(), Some(text.into()));
    let all = [
        tokenizer.clone(),
        bpe_tokenizer(),
        bpe_data("gpt-2").build().unwrap(),
        json(&special),
        tokenizer.clone().with_chat(role, None),
        template(""),
        template("{{ messages }}"),
    ];
    let digests: std::collections::HashSet<_> = all.iter().map(digest).collect();
    assert_eq!(digests.len(), all.len());
    let mut far = tokenizer_json();
    far["model"]["vocab"]["</s>"] = json!(4_000_000_000_u32);
    let error = json(&far).digest().unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Vocabulary { id: 4_000_000_000, .. }), "{error}");
}
