//! Checks of a `tokenizer.json` before the `tokenizers` library reads it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::TextErrorKind;
use crate::files::shorten;

/// Refuses values that would make the library panic or that it would silently misread. The error names the field.
pub(super) fn precheck(json: &Value) -> Result<(), TextErrorKind> {
    let root = object(json, "the file")?;
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        if let Some(value) = root.get(part).filter(|value| !value.is_null()) {
            object(value, part)?;
        }
    }
    if let Some(processor) = root.get("post_processor") {
        post_processor(processor)?;
    }
    let Some(model) = root.get("model") else {
        return Err(TextErrorKind::MissingField { field: "model", expected: "an object" });
    };
    let model = object(model, "model")?;
    // Old files leave the type out; a model with merges is a BPE.
    if model.get("type").and_then(Value::as_str) == Some("BPE") || model.contains_key("merges") {
        bpe(model)?;
    }
    Ok(())
}

fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>, TextErrorKind> {
    value.as_object().ok_or_else(|| TextErrorKind::invalid(field, value, "a JSON object"))
}

/// Checks the tokens of a template, which the library looks up without checking that they exist.
fn post_processor(processor: &Value) -> Result<(), TextErrorKind> {
    // A sequence may contain templates and sequences; their depth is limited by the JSON parser.
    for inner in processor["processors"].as_array().into_iter().flatten() {
        post_processor(inner)?;
    }
    for (part, field) in [("single", "post_processor.single"), ("pair", "post_processor.pair")] {
        for piece in processor[part].as_array().into_iter().flatten() {
            let id = &piece["SpecialToken"]["id"];
            if let Some(name) = id.as_str()
                && processor["special_tokens"].get(name).is_none()
            {
                return Err(TextErrorKind::invalid(field, id, "a token listed in post_processor.special_tokens"));
            }
        }
    }
    Ok(())
}

/// Checks vocabulary and merges: the library copies both halves of a merge, unchecked, into a buffer as long as the
/// longest token.
fn bpe(model: &Map<String, Value>) -> Result<(), TextErrorKind> {
    let prefix = match model.get("continuing_subword_prefix") {
        None | Some(Value::Null) => "",
        Some(Value::String(prefix)) => prefix,
        Some(other) => {
            return Err(TextErrorKind::invalid("model.continuing_subword_prefix", other, "a string"));
        }
    };
    let vocab = match model.get("vocab") {
        Some(vocab) => object(vocab, "model.vocab")?,
        None => {
            return Err(TextErrorKind::MissingField { field: "model.vocab", expected: "an object from token to id" });
        }
    };
    let mut ids = HashSet::with_capacity(vocab.len());
    for (token, id) in vocab {
        let id = id.as_u64().filter(|id| *id < u64::from(u32::MAX));
        if !id.is_some_and(|id| ids.insert(id)) {
            return Err(TextErrorKind::invalid(
                format!("model.vocab.{}", shorten(token)),
                &vocab[token],
                "an integer from 0 to 4294967294 that is not the id of another token",
            ));
        }
    }
    let Some(merges) = model.get("merges") else { return Ok(()) };
    let Some(merges) = merges.as_array() else {
        return Err(TextErrorKind::invalid("model.merges", merges, "a list"));
    };
    let mut whole = String::new();
    for (index, merge) in merges.iter().enumerate() {
        if merge.as_str().is_some_and(|line| line.starts_with("#version")) {
            continue;
        }
        let Some((left, right)) = halves(merge) else {
            return Err(TextErrorKind::invalid(format!("model.merges[{index}]"), merge, "two tokens"));
        };
        let fits = right.strip_prefix(prefix).is_some_and(|tail| {
            whole.clear();
            whole.push_str(left);
            whole.push_str(tail);
            vocab.contains_key(left) && vocab.contains_key(right) && vocab.contains_key(&whole)
        });
        if !fits {
            return Err(TextErrorKind::invalid(
                format!("model.merges[{index}]"),
                merge,
                "two tokens of the vocabulary that make a third",
            ));
        }
    }
    Ok(())
}

/// Returns the two tokens of a merge, which is a pair or, in older files, a text with a space between the two.
fn halves(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(pair) => match pair.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}
