//! Finished pieces of work on disk, so that what was stopped can continue.

use dynlayer::model::format::write_atomic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that a piece of work depends on, by name. Contents stand as their digests.
pub type Identity = BTreeMap<String, Value>;

/// The file of a finished piece of work, and what the piece depends on.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    identity: Identity,
}

/// The error of a file or folder of finished work.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// A file or folder cannot be used.
    #[error("{path}: {what}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failure.
        what: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not the JSON of what is stored in it.
    #[error("{path}: the stored results cannot be read")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A file belongs to other work.
    #[error(
        "{path}: stored results that differ in {setting}: expected {expected}, found {found}; use another folder, or \
         remove this file"
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// The first setting that differs, such as `recipe` or `the model's weights`.
        setting: String,
        /// The setting's value in this work; of contents, the digest.
        expected: String,
        /// The setting's value in the file.
        found: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    identity: Identity,
    run: T,
}

impl Stored {
    /// Names the file, which need not exist.
    pub fn new(path: PathBuf, identity: Identity) -> Self {
        Self { path, identity }
    }

    /// Reads the result, if the work was finished before.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, StoredError> {
        let Self { path, identity } = self;
        if !path.exists() {
            return Ok(None);
        }
        let io = |source| StoredError::Io { path: path.clone(), what: "cannot be read", source };
        let text = std::fs::read_to_string(path).map_err(io)?;
        let json = |source| StoredError::Json { path: path.clone(), source };
        let File { identity: stored, run } = serde_json::from_str(&text).map_err(json)?;
        let mut names = identity.keys().chain(stored.keys());
        let Some(name) = names.find(|name| identity.get(*name) != stored.get(*name)) else { return Ok(Some(run)) };
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let (setting, expected, found) = (name.clone(), text(identity.get(name)), text(stored.get(name)));
        Err(StoredError::Other { path: path.clone(), setting, expected, found })
    }

    /// Writes the result of the finished work, whole or not at all.
    pub fn save<T: Serialize>(self, run: &T) -> Result<(), StoredError> {
        let Self { path, identity } = self;
        let text = match serde_json::to_vec(&File { identity, run }) {
            Ok(text) => text,
            Err(source) => return Err(StoredError::Json { path, source }),
        };
        write_atomic(&path, &text).map_err(|source| StoredError::Io { path, what: "cannot be written", source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_come_back_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let of = |seed: u32| Stored::new(path.clone(), Identity::from([("seed".to_owned(), json!(seed))]));
        assert_eq!(of(1).load::<Vec<f64>>().unwrap(), None);
        of(1).save(&vec![0.1, f64::MIN_POSITIVE]).unwrap();
        assert_eq!(of(1).load::<Vec<f64>>().unwrap(), Some(vec![0.1, f64::MIN_POSITIVE]));
        let error = of(2).load::<Vec<f64>>().unwrap_err().to_string();
        assert!(error.contains("differ in seed: expected 2, found 1"), "{error}");
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(matches!(of(1).load::<Vec<f64>>(), Err(StoredError::Json { .. })));
    }
}
