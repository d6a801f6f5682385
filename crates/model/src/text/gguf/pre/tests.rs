//! Tests that compare the pre-tokenizers with other engines.
//!
//! `tests/fixtures/pre/make.py` made `pieces.json`, and the workspace's `tests/reference/pretokenizers.py` made
//! `llama_cpp.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::text::tests::alphabet;
use crate::text::{GgufTokenizerData, Tokenizer};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pre/pieces.json");

/// Texts for each pre-tokenizer, with the length in bytes of each of their pieces.
type Fixture = BTreeMap<String, Vec<(String, Vec<usize>)>>;

#[test]
fn pieces_are_those_of_the_expressions() {
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(FIXTURE).unwrap()).unwrap();
    assert_eq!(fixture.len(), 4);
    let mut wrong = Vec::new();
    for (name, cases) in fixture {
        for (text, lengths) in cases {
            let found = pieces(&name, &text);
            if found != lengths {
                wrong.push(format!("{name} {text:?}: {found:?}, not {lengths:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Returns the length in bytes of each piece that a pre-tokenizer makes of a text.
fn pieces(name: &str, text: &str) -> Vec<usize> {
    let mut pieces = PreTokenizedString::from(text);
    super::named(Some(name)).unwrap().split.pre_tokenize(&mut pieces).unwrap();
    let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.into_iter().map(|(_, (start, end), _)| end - start).filter(|length| *length > 0).collect()
}

/// Texts with their ids by llama.cpp, for a byte-level BPE of these merges and of tokens that no merges lead to.
#[derive(Deserialize)]
struct LlamaCpp {
    merges: Vec<String>,
    alone: Vec<String>,
    texts: Vec<String>,
    cases: Vec<LlamaCppCase>,
}

/// The token ids of llama.cpp for some names of pre-tokenizers.
#[derive(Deserialize)]
struct LlamaCppCase {
    names: Vec<String>,
    adds_bos: bool,
    ids: Vec<Vec<u32>>,
}

impl LlamaCpp {
    fn tokenizer(&self, name: &str) -> Tokenizer {
        let mut tokens = alphabet();
        tokens.extend(self.merges.iter().map(|merge| merge.replace(' ', "")));
        tokens.extend(self.alone.iter().cloned());
        let data = GgufTokenizerData {
            model: "gpt2".to_owned(),
            pre: Some(name.to_owned()),
            token_types: Some(vec![1; tokens.len()]),
            tokens,
            merges: Some(self.merges.clone()),
            bos: Some(0),
            ..GgufTokenizerData::default()
        };
        data.build().unwrap()
    }
}

#[test]
fn ids_are_those_of_llama_cpp() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pre/llama_cpp.json");
    let fixture: LlamaCpp = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(fixture.texts.len() >= 64 && fixture.cases.len() == 10);
    let mut wrong = Vec::new();
    for case in &fixture.cases {
        for name in &case.names {
            let tokenizer = fixture.tokenizer(name);
            for (text, ids) in fixture.texts.iter().zip(&case.ids) {
                let found = tokenizer.encode(text, false).unwrap();
                if found != *ids {
                    wrong.push(format!("{name} {text:?}: {found:?}, not {ids:?}"));
                }
            }
            assert_eq!(tokenizer.encode("", true).unwrap().len(), usize::from(case.adds_bos), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
