//! The first line of a run's file: everything that the results depend on.

use super::{Candidate, OracleError, OracleRun};
use crate::controllers::FullDepth;
use crate::generation::{ScoreOptions, score};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

const FORMAT: &str = "dynlayer-oracle-run";
const VERSION: u32 = 1;

/// Largest difference between the probes of the same model. Rounding by other kernels changes a probe far less, and other
/// weights change it far more.
const PROBE_TOLERANCE: f64 = 1e-3;

/// The first line of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The full model's log-probability of token 0 after token 0, which depends on all of its weights.
    probe: f64,
    settings: Map<String, Value>,
}

impl Header {
    /// The header of a run. Runs the model once, for the probe.
    pub(super) fn new(run: &OracleRun<'_>) -> Result<Self, OracleError> {
        let OracleRun { model, candidates, measure, options } = run;
        let (scored, report) = score(model, FullDepth, &[0], &[0], &ScoreOptions::default())
            .map_err(|source| OracleError::Item { id: 0, source })?;
        let names: Vec<&str> = candidates.iter().map(Candidate::name).collect();
        let settings = json!({
            "model": report.dimensions,
            "candidates": names,
            "measure": measure.name(),
            "cost": options.cost,
            "control_from": "last-prompt-token",
            "kv_policy": options.kv_policy,
            "max_new_tokens": options.max_new_tokens,
            "stop_tokens": options.stop_tokens,
            "stop_strings": options.stop_strings,
            "text": options.tokenizer.is_some(),
            "seed": options.seed,
            "halves": options.halves,
            "label_free": options.label_free,
            "null_depths": options.null_depths,
            "labels": options.labels,
        });
        let settings = match settings {
            Value::Object(settings) => settings,
            _ => Map::new(),
        };
        let probe = scored.tokens.first().map_or(0.0, |token| token.log_probability);
        Ok(Self { format: FORMAT.to_owned(), version: VERSION, probe, settings })
    }

    /// Refuses the header of a run with other settings.
    pub(super) fn check(&self, found: &Self, file: &Path) -> Result<(), OracleError> {
        let other = |setting: &str, expected: &dyn ToString, found: &dyn ToString| {
            Err(OracleError::OtherRun {
                file: file.to_owned(),
                setting: setting.to_owned(),
                expected: expected.to_string(),
                found: found.to_string(),
            })
        };
        if self.format != found.format {
            return other("format", &self.format, &found.format);
        }
        if self.version != found.version {
            return other("version", &self.version, &found.version);
        }
        let names = self.settings.keys().chain(found.settings.keys());
        for name in names {
            let (expected, found) = (self.settings.get(name), found.settings.get(name));
            if expected != found {
                let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                return other(name, &text(expected), &text(found));
            }
        }
        if (self.probe - found.probe).abs() > PROBE_TOLERANCE {
            return other("model (log-probability of token 0 after token 0)", &self.probe, &found.probe);
        }
        Ok(())
    }
}
