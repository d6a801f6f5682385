//! Everything that a long work depends on, by which the files of another work are told apart.

use serde_json::{Map, Value};

/// Everything that the results of a work depend on, by name. Contents stand as their digests.
pub(crate) type Identity = Map<String, Value>;

/// The first value in which two works differ: its name, such as `run.seed`, the expected value, and the one found.
pub(crate) fn difference(expected: &Identity, found: &Identity) -> Option<(String, String, String)> {
    let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    expected.keys().chain(found.keys()).find_map(|name| match (expected.get(name), found.get(name)) {
        (expected, found) if expected == found => None,
        (Some(Value::Object(expected)), Some(Value::Object(found))) => {
            let (inner, expected, found) = difference(expected, found)?;
            Some((format!("{name}.{inner}"), expected, found))
        }
        (expected, found) => Some((name.clone(), text(expected), text(found))),
    })
}

/// Makes an identity, or a part of one, from pairs of a name and a value.
pub(crate) fn named<const N: usize>(values: [(&str, Value); N]) -> Identity {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_has_its_full_name() {
        let identity = |seed: u64, labels: Value| named([("run", json!({"seed": seed})), ("labels", labels)]);
        let same = identity(1, json!({"a": 1}));
        assert_eq!(difference(&same, &same), None);
        let strings = |(name, expected, found): (&str, &str, &str)| Some((name.into(), expected.into(), found.into()));
        let seed = difference(&same, &identity(2, json!({"a": 1})));
        assert_eq!(seed, strings(("run.seed", "1", "2")));
        assert_eq!(difference(&same, &identity(1, json!({}))), strings(("labels.a", "1", "nothing")));
        assert_eq!(difference(&identity(1, json!({})), &same), strings(("labels.a", "nothing", "1")));
        assert_eq!(difference(&same, &identity(1, json!(null))), strings(("labels", "{\"a\":1}", "null")));
        assert_eq!(difference(&named([]), &named([("x", json!("y"))])), strings(("x", "nothing", "\"y\"")));
    }
}
