//! Tests that compare the pre-tokenizers with another engine; `tests/fixtures/pre/make.py` made the fixture.

use std::collections::BTreeMap;

use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

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
