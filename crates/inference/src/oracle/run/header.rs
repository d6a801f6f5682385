//! The first line of a run's file: everything that the results depend on.

use super::{Candidate, OracleError, OracleRun};
use crate::controllers::FullDepth;
use crate::generation::{ScoreOptions, score};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "dynlayer-oracle-run";
const VERSION: u32 = 1;

/// Largest difference between the probes of the same model. Rounding by other kernels changes a probe far less, and
/// other weights change it far more.
const PROBE_TOLERANCE: f64 = 1e-3;

/// The first line of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The full model's log-probability of token 0 after token 0. It depends on weights of every layer, but not on
    /// those of queries and keys, since a single token attends only to itself.
    probe: f64,
    settings: BTreeMap<String, Value>,
}

impl Header {
    /// The header of a run. Runs the model once, for the probe.
    pub(super) fn new(run: &OracleRun<'_>) -> Result<Self, OracleError> {
        let OracleRun { model, candidates, measure, options } = run;
        let (scored, report) = score(model, FullDepth, &[0], &[0], &ScoreOptions::default())
            .map_err(|source| OracleError::Item { id: 0, source })?;
        let names: Vec<&str> = candidates.iter().map(Candidate::name).collect();
        let settings = [
            ("model", json!(report.dimensions)),
            ("candidates", json!(names)),
            ("measure", json!(measure.name())),
            ("cost", json!(options.cost)),
            ("control_from", json!(options.run.control_from)),
            ("kv_policy", json!(options.run.kv_policy)),
            ("max_new_tokens", json!(options.max_new_tokens)),
            ("stop_tokens", json!(options.stop_tokens)),
            ("stop_strings", json!(options.stop_strings)),
            ("text", json!(options.tokenizer.is_some())),
            ("seed", json!(options.run.seed)),
            ("halves", json!(options.halves)),
            ("label_free", json!(options.label_free)),
            ("null_depths", json!(options.null_depths)),
            ("labels", json!(options.labels)),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        let probe = scored.tokens.first().map_or(0.0, |token| token.log_probability);
        Ok(Self { format: FORMAT.to_owned(), version: VERSION, probe, settings })
    }

    /// Refuses the header of a run with other settings.
    pub(super) fn check(&self, found: &Self, file: &Path) -> Result<(), OracleError> {
        let formats = [
            ("format", json!(self.format), json!(found.format)),
            ("version", json!(self.version), json!(found.version)),
        ];
        let formats = formats.iter().map(|(name, expected, found)| (*name, Some(expected), Some(found)));
        let names = self.settings.keys().chain(found.settings.keys());
        let settings = names.map(|name| (name.as_str(), self.settings.get(name), found.settings.get(name)));
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let different = formats.chain(settings).find(|(_, expected, found)| expected != found);
        let different = different.map(|(name, expected, found)| (name, text(expected), text(found)));
        let probe = "model (log-probability of token 0 after token 0)";
        let other_model = (self.probe - found.probe).abs() > PROBE_TOLERANCE;
        let other_model = other_model.then(|| (probe, self.probe.to_string(), found.probe.to_string()));
        match different.or(other_model) {
            None => Ok(()),
            Some((setting, expected, found)) => {
                Err(OracleError::OtherRun { file: file.to_owned(), setting: setting.to_owned(), expected, found })
            }
        }
    }
}
