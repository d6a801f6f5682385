//! The pre-tokenizers against another engine; `tests/fixtures/pre/make.py` made the fixture.

use std::collections::BTreeMap;

use crate::text::gguf;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pre/pieces.json");

/// Per pre-tokenizer: texts, and the bytes of each of their pieces.
type Fixture = BTreeMap<String, Vec<(String, Vec<usize>)>>;

#[test]
fn pieces_are_those_of_the_expressions() {
    let fixture: Fixture = serde_json::from_slice(&std::fs::read(FIXTURE).unwrap()).unwrap();
    assert_eq!(fixture.len(), 4);
    let mut wrong = Vec::new();
    for (name, cases) in fixture {
        for (text, lengths) in cases {
            let found = gguf::pieces(&name, &text);
            if found != lengths {
                wrong.push(format!("{name} {text:?}: {found:?}, not {lengths:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
