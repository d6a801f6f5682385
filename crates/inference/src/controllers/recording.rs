//! What a controller did in a run, as data.

use crate::control::Action;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of the file that this crate writes, and reads.
const VERSION: u32 = 1;

/// What a controller did in a run: the actions per sequence and controlled pass.
///
/// A pass is one action per layer, and ends early where the row exited. Made by [`Recorded`](super::Recorded), followed
/// by [`Replayed`](super::Replayed).
///
/// ```
/// use dynlayer_inference::Action;
/// use dynlayer_inference::controllers::Recording;
///
/// let mut recording = Recording::new(3);
/// recording.push(7, vec![Action::Run, Action::Skip, Action::Run])?;
/// recording.push(7, vec![Action::Run, Action::Exit])?;
/// assert_eq!(recording.passes(7).map(<[_]>::len), Some(2));
/// assert!(recording.push(7, vec![Action::Run]).is_err(), "neither three layers nor an exit");
/// # Ok::<(), dynlayer_inference::controllers::RecordingError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    version: u32,
    n_layers: usize,
    sequences: BTreeMap<u64, Vec<Vec<Action>>>,
}

/// The version first: another one may have other fields.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Recording {
    /// An empty one for a model with this many layers.
    pub fn new(n_layers: usize) -> Self {
        Self { version: VERSION, n_layers, sequences: BTreeMap::new() }
    }

    /// Layers of the model that it was made with.
    pub fn n_layers(&self) -> usize {
        self.n_layers
    }

    /// The sequences' ids, ascending.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.sequences.keys().copied()
    }

    /// The controlled passes of a sequence, in order; `None` if there is none.
    pub fn passes(&self, sequence: u64) -> Option<&[Vec<Action>]> {
        self.sequences.get(&sequence).map(Vec::as_slice)
    }

    /// Adds a pass to a sequence.
    ///
    /// # Errors
    /// [`RecordingError::Pass`] if it is neither one action per layer nor a shorter list that ends with an exit.
    pub fn push(&mut self, sequence: u64, actions: Vec<Action>) -> Result<(), RecordingError> {
        let pass = self.passes(sequence).map_or(0, <[_]>::len);
        check(sequence, pass, &actions, self.n_layers)?;
        self.sequences.entry(sequence).or_default().push(actions);
        Ok(())
    }

    /// The action of a layer in a pass; layers after an exit repeat it.
    pub(super) fn action(&self, sequence: u64, pass: usize, layer: usize) -> Result<Action, RecordingError> {
        let passes = self.passes(sequence).ok_or(RecordingError::NoSequence { sequence })?;
        let actions = passes.get(pass).ok_or(RecordingError::NoPass { sequence, pass, passes: passes.len() })?;
        Ok(actions.get(layer).or(actions.last()).copied().unwrap_or(Action::Run))
    }

    /// For the pass under way; [`validate`](Self::validate) holds once it is over.
    pub(super) fn open_pass(&mut self, sequence: u64) {
        self.sequences.entry(sequence).or_default().push(Vec::new());
    }

    /// Adds a layer to the pass under way, unless the row has exited.
    pub(super) fn add(&mut self, sequence: u64, action: Action) {
        if let Some(pass) = self.sequences.get_mut(&sequence).and_then(|passes| passes.last_mut())
            && pass.last() != Some(&Action::Exit)
        {
            pass.push(action);
        }
    }

    /// Writes it as JSON: the file is there whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written, or a run that was recorded ended in the middle of a pass.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RecordingError> {
        let path = path.as_ref();
        self.validate()?;
        let json = serde_json::to_vec(self).map_err(|source| RecordingError::Json { path: path.into(), source })?;
        dynlayer_model::format::write_atomic(path, &json)
            .map_err(|source| RecordingError::Io { path: path.into(), source })
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is of another version, or holds passes that do not fit its number of layers.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| RecordingError::Io { path: path.into(), source })?;
        let json = |source| RecordingError::Json { path: path.into(), source };
        let Version { version: found } = serde_json::from_slice(&bytes).map_err(json)?;
        if found != VERSION {
            return Err(RecordingError::Version { path: path.into(), found, expected: VERSION });
        }
        let recording: Self = serde_json::from_slice(&bytes).map_err(json)?;
        recording.validate()?;
        Ok(recording)
    }

    fn validate(&self) -> Result<(), RecordingError> {
        self.sequences.iter().try_for_each(|(sequence, passes)| {
            let mut passes = passes.iter().enumerate();
            passes.try_for_each(|(pass, actions)| check(*sequence, pass, actions, self.n_layers))
        })
    }
}

fn check(sequence: u64, pass: usize, actions: &[Action], n_layers: usize) -> Result<(), RecordingError> {
    let exit = actions.iter().position(|action| *action == Action::Exit);
    let ok = match exit {
        Some(at) => at + 1 == actions.len() && actions.len() <= n_layers,
        None => actions.len() == n_layers,
    };
    if ok { Ok(()) } else { Err(RecordingError::Pass { sequence, pass, found: actions.len(), exit, n_layers }) }
}

/// What can be wrong with a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be read or written.
    #[error("{path}: cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not the JSON of a recording.
    #[error("{path}: not a recording")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found, with line and column.
        source: serde_json::Error,
    },
    /// The file has another version.
    #[error("{path}: a recording of version {found}; expected {expected}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// A pass does not fit the number of layers.
    #[error(
        "pass {pass} of sequence {sequence} has {found} actions and its first exit at {exit:?}; expected {n_layers} \
         actions, or fewer of which only the last is an exit"
    )]
    Pass {
        /// The sequence.
        sequence: u64,
        /// The pass, from 0.
        pass: usize,
        /// How many actions it has.
        found: usize,
        /// Its first exit.
        exit: Option<usize>,
        /// Layers of the recording.
        n_layers: usize,
    },
    /// The recording was made with a model of other depth.
    #[error("a recording of a model with {found} layers; this one has {expected}")]
    Layers {
        /// Layers of the recording.
        found: usize,
        /// Layers of the model.
        expected: usize,
    },
    /// A sequence is not in the recording.
    #[error("the recording has no sequence {sequence}")]
    NoSequence {
        /// The sequence.
        sequence: u64,
    },
    /// A sequence runs on after the recording ends.
    #[error("the recording has {passes} passes of sequence {sequence}; pass {pass}, counted from 0, is asked for")]
    NoPass {
        /// The sequence.
        sequence: u64,
        /// The pass that is needed, from 0.
        pass: usize,
        /// How many there are.
        passes: usize,
    },
    /// The controller answered with a gate, which is no action.
    #[error("a gate at layer {layer} cannot be recorded: it is no action")]
    Gate {
        /// Where.
        layer: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_recordings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Recording::load(&path).unwrap_err()
        };
        assert!(matches!(load("{"), RecordingError::Json { .. }));
        assert!(matches!(load(r#"{"version": 9}"#), RecordingError::Version { found: 9, expected: 1, .. }));
        assert!(matches!(load(r#"{"version": 1, "n_layers": 2}"#), RecordingError::Json { .. }));
        let long = load(r#"{"version": 1, "n_layers": 1, "sequences": {"4": [["run"], ["run", "run"]]}}"#);
        assert!(matches!(long, RecordingError::Pass { sequence: 4, pass: 1, found: 2, .. }), "{long}");
        let after = load(r#"{"version": 1, "n_layers": 2, "sequences": {"0": [["exit", "run"]]}}"#);
        assert!(matches!(after, RecordingError::Pass { exit: Some(0), .. }), "{after}");
        assert!(matches!(
            load(r#"{"version": 1, "n_layers": 1, "sequences": {"0": [["fly"]]}}"#),
            RecordingError::Json { .. }
        ));
        let none = Recording::load(folder.path().join("none")).unwrap_err();
        assert!(none.to_string().contains("none: cannot be read"), "{none}");
    }
}
