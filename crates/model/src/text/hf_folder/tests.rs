//! Tests of reading Hugging Face folders.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::text::tests::tokenizer_json;
use crate::text::{ChatMessage, TextError, TextErrorKind, Tokenizer};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer_json().to_string()).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &TempDir) -> Result<Tokenizer, TextError> {
    Tokenizer::from_hf_folder(folder.path())
}

#[test]
fn a_tokenizer_alone_is_enough() {
    let tokenizer = load(&folder(&[])).unwrap();
    assert_eq!(tokenizer.encode("abababa", true).unwrap(), [3, 2, 2, 2, 0], "neither truncated nor padded");
    assert_eq!(tokenizer.encode("<s>a<new>", false).unwrap(), [3, 0, 5]);
    assert_eq!(tokenizer.vocab_size(), 6);
    assert!(tokenizer.chat_template().unwrap().is_none());
    assert_eq!((tokenizer.is_special(3), tokenizer.is_special(4), tokenizer.is_special(5)), (true, false, false));
}

#[test]
fn the_configuration_adds_roles_tokens_and_a_template() {
    let config = json!({
        "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "unk_token": null,
        "added_tokens_decoder": {
            "6": {"content": "<extra>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            "5": {"content": "<new>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        },
        "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"}],
    });
    let map = json!({"pad_token": "</s>", "eos_token": "<s>"});
    let folder =
        folder(&[("tokenizer_config.json", &config.to_string()), ("special_tokens_map.json", &map.to_string())]);
    let tokenizer = load(&folder).unwrap();
    assert_eq!(tokenizer.special_tokens().pad.as_deref(), Some("</s>"));
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(3), Some(4)));
    assert_eq!(tokenizer.encode("a</s><extra><new>", false).unwrap(), [0, 4, 6, 5]);
    assert!([3, 4, 5, 6].iter().all(|id| tokenizer.is_special(*id)));
    let template = tokenizer.chat_template().unwrap().unwrap();
    assert_eq!(template.render(&[ChatMessage::user("ab")], true).unwrap(), "<s>ab");
}

#[test]
fn the_configuration_decides_what_is_around_a_text() {
    let encode = |config: serde_json::Value| {
        let folder = folder(&[("tokenizer_config.json", &config.to_string())]);
        load(&folder).unwrap().encode("ab", true).unwrap()
    };
    assert_eq!(encode(json!({"bos_token": "<s>", "eos_token": "</s>"})), [3, 2]);
    assert_eq!(encode(json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true})), [3, 2]);
    assert_eq!(encode(json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": false})), [2]);
    assert_eq!(encode(json!({"bos_token": "<s>", "eos_token": "</s>", "add_eos_token": true})), [3, 2, 4]);
    assert_eq!(encode(json!({"eos_token": "</s>", "add_bos_token": false, "add_eos_token": null})), [3, 2]);
    // A token that the tokenizer lacks cannot be added.
    assert_eq!(encode(json!({"bos_token": "<none>", "add_bos_token": true})), [3, 2]);
}

#[test]
fn tokenizers_in_other_forms_are_refused_with_the_next_step() {
    for name in ["tokenizer.model", "vocab.json"] {
        let folder = folder(&[(name, "")]);
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let error = load(&folder).unwrap_err();
        assert!(matches!(error.kind(), TextErrorKind::NeedsConversion { found } if *found == name), "{error:?}");
        assert!(error.to_string().contains("save_pretrained"), "{error}");
    }
}

#[test]
fn a_separate_template_file_wins() {
    let config = json!({"chat_template": "one"});
    let folder = folder(&[("tokenizer_config.json", &config.to_string()), ("chat_template.jinja", "two")]);
    let template = load(&folder).unwrap().chat_template().unwrap().unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "two");
}

#[test]
fn contradictions_are_refused() {
    let token = json!({"content": "a", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    for (id, token) in [("7", token.clone()), ("x", token)] {
        let config = json!({"added_tokens_decoder": {id: token}}).to_string();
        let error = load(&folder(&[("tokenizer_config.json", &config)])).unwrap_err();
        assert!(matches!(error.kind(), TextErrorKind::Invalid { .. }), "{error:?}");
    }
    for text in ["", "{", "[]x", "{\"bos_token\": 3}"] {
        let error = load(&folder(&[("tokenizer_config.json", text)])).unwrap_err();
        assert!(matches!(error.kind(), TextErrorKind::Json(_)), "{text}: {error:?}");
    }
    let error = Tokenizer::from_hf_folder(Path::new("nowhere")).unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Io(_)) && error.to_string().contains("tokenizer.json"), "{error:?}");
}

#[test]
fn a_template_in_another_dialect_spoils_nothing_else() {
    let tokenizer = load(&folder(&[("chat_template.jinja", "{% nonsense %}")])).unwrap();
    assert!(matches!(
        tokenizer.chat_template().as_ref().unwrap_err().kind(),
        TextErrorKind::Template { stage: "parsed", .. }
    ));
    assert_eq!(tokenizer.encode("ab", false).unwrap(), [2]);
}
