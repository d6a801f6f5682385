//! The first line of a run's file: everything that the results depend on.

use super::{Candidate, OracleError, OracleOptions, OracleRun};
use crate::identity::{Identity, difference, named};
use dynlayer_model::text::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

const FORMAT: &str = "dynlayer-oracle-run";
/// Version 1 told models apart by the probability of one token, which does not depend on all weights.
const VERSION: u32 = 2;

/// The setting that the files of shards have and others do not.
const SHARD: &str = "shard";

/// The first line of a run's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    settings: Identity,
}

impl Header {
    /// The header of a run. Reads all weights and all files of the candidates, for their digests.
    pub(super) fn new(run: &OracleRun<'_>) -> Result<Self, OracleError> {
        let OracleRun { model, candidates, measure, options } = run;
        // By name, so that no option is forgotten.
        let OracleOptions {
            run,
            max_new_tokens,
            stop_tokens,
            stop_strings,
            tokenizer,
            halves,
            label_free,
            null_depths,
            cost,
            lanes,
            labels,
            shard,
        } = options;
        let names: Vec<&str> = candidates.iter().map(Candidate::name).collect();
        let mut settings = named([
            ("the weights", json!(model.weights_digest()?)),
            ("the tokenizer or its chat template", json!(tokenizer.map(Tokenizer::digest).transpose()?)),
            ("configuration", json!(model.config())),
            ("device", json!(format!("{:?}", model.device()))),
            ("candidates", json!(names)),
            ("measure", json!(measure.name())),
            ("run", json!(run)),
            ("max_new_tokens", json!(max_new_tokens)),
            ("stop_tokens", json!(stop_tokens)),
            ("stop_strings", json!(stop_strings)),
            ("halves", json!(halves)),
            ("label_free", json!(label_free)),
            ("null_depths", json!(null_depths)),
            ("cost", json!(cost)),
            // Sums over more than 64 rows may be rounded in another order, and on some devices over fewer.
            ("lanes", json!(lanes)),
            ("labels", json!(labels)),
        ]);
        settings.extend(inputs(candidates)?);
        // The file of a whole run has no such setting, so that merged files are the same.
        settings.extend(shard.map(|shard| (SHARD.to_owned(), json!(shard))));
        Ok(Self { format: FORMAT.to_owned(), version: VERSION, settings })
    }

    /// The header of the whole run of which this is a shard.
    pub(super) fn without_shard(mut self) -> Self {
        self.settings.remove(SHARD);
        self
    }

    /// Refuses the header of another kind of file, or of another version.
    pub(super) fn check_version(&self, file: &Path) -> Result<(), OracleError> {
        let file = file.to_owned();
        if self.format != FORMAT {
            let (expected, found) = ("the header of a run", format!("a file of the format {:?}", self.format));
            return Err(OracleError::Syntax { file, line: 1, expected, found });
        }
        if self.version != VERSION {
            return Err(OracleError::Version { file, expected: VERSION, found: self.version });
        }
        Ok(())
    }

    /// Refuses the header of a run with other settings.
    pub(super) fn check(&self, found: &Self, file: &Path) -> Result<(), OracleError> {
        match difference(&self.settings, &found.settings) {
            None => Ok(()),
            Some((setting, expected, found)) => {
                Err(OracleError::OtherRun { file: file.to_owned(), setting, expected, found })
            }
        }
    }

    /// Refuses files that were replaced since the header was made.
    pub(super) fn check_inputs(&self, candidates: &[Candidate<'_>], file: &Path) -> Result<(), OracleError> {
        let mut now = self.clone();
        now.settings.extend(inputs(candidates)?);
        match difference(&self.settings, &now.settings) {
            None => Ok(()),
            Some((what, before, now)) => Err(OracleError::Replaced { file: file.to_owned(), what, before, now }),
        }
    }
}

/// The digests of everything that the candidates read, by names such as `the router of candidate router:FILE`.
fn inputs(candidates: &[Candidate<'_>]) -> Result<Identity, OracleError> {
    let mut all = Identity::new();
    for candidate in candidates {
        for (what, digest) in candidate.inputs()? {
            all.insert(format!("the {what} of candidate {}", candidate.name()), json!(digest));
        }
    }
    Ok(all)
}
