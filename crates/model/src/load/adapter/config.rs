//! The description of an adapter: PEFT's `adapter_config.json`.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The largest number of expressions in a field. PEFT writes at most one per matrix of the model.
pub(super) const MAX_PATTERNS: usize = 1024;

/// The reason for refusing an adapter that only peft can add to the model's weights.
pub(super) const MERGE: &str =
    "only W + s B A is computed here; merge the adapter with peft (merge_and_unload) and load the result";

/// The reason for refusing an adapter that no weights can express.
const NOT_WEIGHTS: &str = "it is no sum W + s B A, nor can it be merged into the weights; it can only be run with peft";

/// The reason for refusing an adapter whose base model was changed before it was trained.
const CHANGED_BASE: &str = "its base is not the original model; save it with peft's \
    path_initial_model_for_weight_conversion, or merge it with peft (merge_and_unload) and load the result";

/// The ways to begin a training that leave the base model as it is, beside true and false.
const KEPT_BASE: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// The fields that may be true or hold a list or an object without changing what an adapter computes.
const HARMLESS: [&str; 13] = [
    "auto_mapping",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "merge_weights",
    "runtime_config",
    "target_modules",
    "velora_config",
];

/// An adapter's `adapter_config.json`: the fields that a product depends on, and all others as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AdapterConfig {
    /// The kind of adapter, such as `LORA`.
    pub peft_type: String,
    /// The rank of the products for which `rank_pattern` has no other.
    #[serde(default = "default_rank")]
    pub r: usize,
    /// The numerator of their scale.
    #[serde(default = "default_alpha")]
    pub lora_alpha: f64,
    /// If `true`, the scale is alpha / sqrt(r); otherwise alpha / r.
    #[serde(default)]
    pub use_rslora: bool,
    /// Other ranks, by expression over the names of modules.
    #[serde(default)]
    pub rank_pattern: Patterns<usize>,
    /// Other alphas, likewise.
    #[serde(default)]
    pub alpha_pattern: Patterns<f64>,
    /// The adapted layers; empty: all.
    #[serde(default, deserialize_with = "one_or_many")]
    pub layers_to_transform: Vec<usize>,
    /// Expressions for the name before the number of a layer; empty: any name.
    #[serde(default, deserialize_with = "one_or_many")]
    pub layers_pattern: Vec<String>,
    /// All other fields.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

impl AdapterConfig {
    /// Returns the first field by which the adapter is more than a sum of products, its value, and what to do instead.
    pub(super) fn refused(&self) -> Option<(&str, String, &'static str)> {
        if self.peft_type != "LORA" {
            let prompt = ["PROMPT", "PREFIX", "P_TUNING", "CPT"].iter().any(|kind| self.peft_type.contains(kind));
            return Some(("peft_type", self.peft_type.clone(), if prompt { NOT_WEIGHTS } else { MERGE }));
        }
        self.rest.iter().find_map(|(field, value)| {
            let why = match (field.as_str(), value) {
                ("bias", value) => (!value.is_null() && value.as_str() != Some("none")).then_some(MERGE),
                ("init_lora_weights", Value::String(kind)) => {
                    let kept = KEPT_BASE.contains(&kind.to_lowercase().as_str());
                    (!kept).then_some(CHANGED_BASE)
                }
                ("init_lora_weights", _) => None,
                ("alora_invocation_tokens" | "arrow_config", value) => is_set(value).then_some(NOT_WEIGHTS),
                // Switches that this code does not know are refused too: they are likely to be new kinds of adapters.
                (field, value) => (is_set(value) && !HARMLESS.contains(&field)).then_some(MERGE),
            }?;
            Some((field.as_str(), value.to_string(), why))
        })
    }

    /// Returns `true` if `target_modules` lists the module by its whole name.
    pub(super) fn names(&self, module: &str) -> bool {
        let targets = self.rest.get("target_modules").and_then(Value::as_array);
        targets.is_some_and(|targets| targets.iter().any(|target| target.as_str() == Some(module)))
    }
}

/// Returns `true` for a value that turns something on: true, and lists and objects that are not empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null | Value::Number(_) | Value::String(_) => false,
    }
}

/// PEFT's rank where the file has none.
fn default_rank() -> usize {
    8
}

/// PEFT's alpha where the file has none.
fn default_alpha() -> f64 {
    8.0
}

/// Deserializes a value alone, a list of values, or null for none.
fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match Option::<Form<T>>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Form::One(value)) => vec![value],
        Some(Form::Many(values)) => values,
    })
}

/// Values by expression, in the order of the file, since the first expression that matches a module counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patterns<T>(pub Vec<(String, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(expression, value)| (expression, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PatternsVisitor(PhantomData))
    }
}

struct PatternsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PatternsVisitor<T> {
    type Value = Patterns<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers by expression")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Patterns::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if patterns.len() == MAX_PATTERNS {
                return Err(A::Error::custom(format!("more than {MAX_PATTERNS} expressions")));
            }
            patterns.push(entry);
        }
        Ok(Patterns(patterns))
    }
}
