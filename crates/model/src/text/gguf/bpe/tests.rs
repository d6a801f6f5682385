//! Tests of byte-level BPE from GGUF metadata.

use crate::text::tests::{bpe_data, bpe_tokenizer};
use crate::text::{GgufTokenizerData, TextErrorKind};

const HE: u32 = 256;
const HELLO: u32 = 259;
const SPACE_HELLO: u32 = 260;
const TWELVE: u32 = 262;
const START: u32 = 264;
const END: u32 = 265;
const TOOL: u32 = 266;

#[test]
fn merges_and_added_tokens() {
    let tokenizer = bpe_tokenizer();
    assert_eq!(tokenizer.vocab_size(), 267);
    assert_eq!(tokenizer.encode("hello hello", true).unwrap(), [HELLO, SPACE_HELLO]);
    assert_eq!(tokenizer.encode("he", false).unwrap(), [HE]);
    assert_eq!(tokenizer.encode("<|im_start|>hello<|im_end|><tool>", false).unwrap(), [START, HELLO, END, TOOL]);
    let ids = [START, HELLO, END, TOOL];
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "hello<tool>");
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "<|im_start|>hello<|im_end|><tool>");
    assert_eq!(ids.map(|id| tokenizer.is_special(id)), [true, false, true, false]);
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(START), Some(END)));
    assert_eq!(tokenizer.token_to_id("Ġhello"), Some(SPACE_HELLO));
    assert_eq!(tokenizer.id_to_token(SPACE_HELLO).as_deref(), Some("Ġhello"));
    assert_eq!(tokenizer.id_to_token(267), None);
    assert_eq!(tokenizer.decode(&[HELLO, 99_999], false).unwrap(), "hello");
}

#[test]
fn digits_stay_apart_only_where_the_model_says_so() {
    for (pre, expected) in [("smollm", vec![49, 50]), ("qwen2", vec![49, 50]), ("gpt-2", vec![TWELVE])] {
        assert_eq!(bpe_data(pre).build().unwrap().encode("12", true).unwrap(), expected, "{pre}");
    }
    assert_eq!(bpe_data("llama-bpe").build().unwrap().encode("12", true).unwrap(), [START, TWELVE]);
}

#[test]
fn a_word_that_is_a_token_needs_no_merges_for_llama() {
    let mut data = bpe_data("llama-bpe");
    data.tokens.push("xyz".to_owned());
    data.token_types.as_mut().unwrap().push(1);
    assert_eq!(data.clone().build().unwrap().encode("xyz", false).unwrap(), [267]);
    data.pre = Some("gpt-2".to_owned());
    assert_eq!(data.build().unwrap().encode("xyz", false).unwrap(), [120, 121, 122]);
}

#[test]
fn qwen_composes_characters() {
    let tokenizer = bpe_data("qwen2").build().unwrap();
    assert_eq!(tokenizer.encode("e\u{301}", false).unwrap(), tokenizer.encode("\u{e9}", false).unwrap());
}

#[test]
fn frames_follow_the_metadata() {
    let framed = GgufTokenizerData { add_bos: Some(true), add_eos: Some(true), ..bpe_data("gpt-2") }.build().unwrap();
    assert_eq!(framed.encode("he", true).unwrap(), [START, HE, END]);
    assert_eq!(framed.encode("he", false).unwrap(), [HE]);
    let bare = GgufTokenizerData { add_bos: Some(false), ..bpe_data("llama-bpe") }.build().unwrap();
    assert_eq!(bare.encode("he", true).unwrap(), [HE]);
    let missing = GgufTokenizerData { bos: None, ..bpe_data("llama-bpe") }.build();
    assert!(
        matches!(
            missing.as_ref().unwrap_err().kind(),
            TextErrorKind::MissingField { field: "tokenizer.ggml.bos_token_id", .. }
        ),
        "{missing:?}"
    );
    let same = GgufTokenizerData { add_bos: Some(true), add_eos: Some(true), eos: Some(START), ..bpe_data("gpt-2") };
    assert_eq!(same.build().unwrap().encode("he", true).unwrap(), [START, HE, START]);
}

#[test]
fn the_model_needs_a_row_per_token() {
    let tokenizer = bpe_tokenizer();
    tokenizer.check_vocab(267).unwrap();
    tokenizer.check_vocab(512).unwrap();
    let error = tokenizer.check_vocab(266).unwrap_err();
    assert!(
        matches!(error.kind(), TextErrorKind::Vocabulary { token, id: TOOL, model_vocab: 266 } if token == "<tool>"),
        "{error:?}"
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    let model = GgufTokenizerData { model: "t5".to_owned(), ..bpe_data("gpt-2") }.build().unwrap_err().to_string();
    assert!(model.contains("t5") && model.contains("gpt2"), "{model}");
    let pre = bpe_data("deepseek-v3").build().unwrap_err().to_string();
    assert!(pre.contains("deepseek-v3") && pre.contains("smollm"), "{pre}");
    let none = GgufTokenizerData { pre: None, ..bpe_data("") }.build();
    assert!(
        matches!(none.as_ref().unwrap_err().kind(), TextErrorKind::MissingField { field: "tokenizer.ggml.pre", .. }),
        "{none:?}"
    );
}
