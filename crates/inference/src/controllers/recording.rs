//! The actions of a controller in a run, as data.

use crate::control::{Action, ControlFrom, RunSettings, Setup};
use crate::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

/// The version of the file format.
const VERSION: u32 = 1;

/// The actions of a controller in a run, per sequence and controlled pass.
///
/// A sequence is named by its id. A pass has one action per layer, or fewer if the row exited: then the exit is the last.
/// [`Recorded`](super::Recorded) makes a recording, and [`Replayed`](super::Replayed) repeats it.
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
    /// The settings of the run that decide what the controlled passes are; `None` if they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    control_from: Option<ControlFrom>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefill_chunk: Option<usize>,
    sequences: BTreeMap<u64, Vec<Vec<Action>>>,
}

impl Recording {
    /// An empty recording for a model with this many layers, which fits any start of control.
    pub fn new(n_layers: usize) -> Self {
        Self { version: VERSION, n_layers, control_from: None, prefill_chunk: None, sequences: BTreeMap::new() }
    }

    /// An empty recording of a run.
    pub(super) fn of(setup: &Setup<'_>) -> Self {
        let RunSettings { control_from, prefill_chunk, .. } = setup.settings();
        // Only then are the chunks of a prompt controlled.
        let prefill_chunk = Some(prefill_chunk).filter(|_| control_from == ControlFrom::All);
        Self { control_from: Some(control_from), prefill_chunk, ..Self::new(setup.n_layers()) }
    }

    /// The start of control in the recorded run; `None` if it is not known, as in a recording that was made with
    /// [`new`](Self::new).
    pub fn control_from(&self) -> Option<ControlFrom> {
        self.control_from
    }

    /// The number of layers of the model that the recording was made with.
    pub fn n_layers(&self) -> usize {
        self.n_layers
    }

    /// The ids of the recorded sequences, ascending.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.sequences.keys().copied()
    }

    /// The controlled passes of a sequence, in order; `None` if the sequence is not in the recording.
    pub fn passes(&self, sequence: u64) -> Option<&[Vec<Action>]> {
        self.sequences.get(&sequence).map(Vec::as_slice)
    }

    /// Adds a pass to a sequence.
    ///
    /// # Errors
    /// [`RecordingError::Pass`] unless `actions` holds one action per layer, or fewer of which the last is an exit, and
    /// no exit before the last; [`RecordingError::Question`] if it holds [`Action::AskBeforeMlp`].
    pub fn push(&mut self, sequence: u64, actions: Vec<Action>) -> Result<(), RecordingError> {
        let pass = self.passes(sequence).map_or(0, <[_]>::len);
        check(sequence, pass, &actions, self.n_layers)?;
        self.sequences.entry(sequence).or_default().push(actions);
        Ok(())
    }

    /// The action of a layer in a pass; [`Action::Exit`] for layers after an exit.
    pub(super) fn action(&self, sequence: u64, pass: usize, layer: usize) -> Result<Action, RecordingError> {
        let passes = self.passes(sequence).ok_or(RecordingError::NoSequence { sequence })?;
        let actions = passes.get(pass).ok_or(RecordingError::NoPass { sequence, pass, passes: passes.len() })?;
        Ok(actions.get(layer).or(actions.last()).copied().unwrap_or(Action::Run))
    }

    /// Begins a pass without actions; [`validate`](Self::validate) fails until all of them are added.
    pub(super) fn open_pass(&mut self, sequence: u64) {
        self.sequences.entry(sequence).or_default().push(Vec::new());
    }

    /// Adds the action of the next layer to the sequence's last pass.
    pub(super) fn add(&mut self, sequence: u64, action: Action) {
        if let Some(pass) = self.last_pass(sequence) {
            pass.push(action);
        }
    }

    /// Replaces [`Action::AskBeforeMlp`] at the end of the sequence's last pass by the action that this answer to the
    /// question makes it. An exit after the attention is an exit before the next layer, if there is one.
    pub(super) fn settle(&mut self, sequence: u64, answer: Action) {
        let n_layers = self.n_layers;
        let Some(pass) = self.last_pass(sequence) else { return };
        if let Some(last) = pass.last_mut() {
            *last = if answer == Action::Run { Action::Run } else { Action::SkipMlp };
        }
        if answer == Action::Exit && pass.len() < n_layers {
            pass.push(Action::Exit);
        }
    }

    fn last_pass(&mut self, sequence: u64) -> Option<&mut Vec<Action>> {
        self.sequences.get_mut(&sequence).and_then(|passes| passes.last_mut())
    }

    /// Sets the passes of a sequence; without any, the sequence is no longer in the recording.
    pub(super) fn set(&mut self, sequence: u64, passes: Vec<Vec<Action>>) {
        if passes.is_empty() {
            self.sequences.remove(&sequence);
        } else {
            self.sequences.insert(sequence, passes);
        }
    }

    /// Keeps only the first `passes` passes of a sequence; without any, the sequence is no longer in the recording.
    pub(super) fn truncate(&mut self, sequence: u64, passes: usize) {
        if let Some(recorded) = self.sequences.get_mut(&sequence) {
            recorded.truncate(passes);
        }
        if passes == 0 {
            self.sequences.remove(&sequence);
        }
    }

    /// Writes a JSON file atomically.
    ///
    /// # Errors
    /// If the file cannot be written, or the recorded run ended in the middle of a pass.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RecordingError> {
        self.validate()?;
        Ok(files::save_json(path.as_ref(), "a recording", self)?)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is of another version, or holds passes that do not fit its number of layers.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let recording: Self = files::load_versioned_json(path.as_ref(), "a recording", VERSION)?;
        recording.validate()?;
        Ok(recording)
    }

    /// Returns an error if the controlled passes of this run are not those of the recording.
    pub(super) fn check_run(&self, setup: &Setup<'_>) -> Result<(), RecordingError> {
        self.check_layers(setup.n_layers())?;
        let RunSettings { control_from, prefill_chunk, .. } = setup.settings();
        same("control_from", self.control_from, control_from)?;
        same("prefill_chunk", self.prefill_chunk, prefill_chunk)
    }

    /// Returns an error unless the recording was made with a model of `expected` layers.
    pub(super) fn check_layers(&self, expected: usize) -> Result<(), RecordingError> {
        let found = self.n_layers;
        if found == expected { Ok(()) } else { Err(RecordingError::Layers { found, expected }) }
    }

    fn validate(&self) -> Result<(), RecordingError> {
        self.sequences.iter().try_for_each(|(sequence, passes)| {
            let mut passes = passes.iter().enumerate();
            passes.try_for_each(|(pass, actions)| check(*sequence, pass, actions, self.n_layers))
        })
    }
}

fn same<T: PartialEq + Display>(setting: &'static str, recorded: Option<T>, now: T) -> Result<(), RecordingError> {
    match recorded {
        Some(recorded) if recorded != now => {
            Err(RecordingError::Setting { setting, recorded: recorded.to_string(), found: now.to_string() })
        }
        _ => Ok(()),
    }
}

fn check(sequence: u64, pass: usize, actions: &[Action], n_layers: usize) -> Result<(), RecordingError> {
    if let Some(layer) = actions.iter().position(|action| *action == Action::AskBeforeMlp) {
        return Err(RecordingError::Question { sequence, pass, layer });
    }
    let exit = actions.iter().position(|action| *action == Action::Exit);
    let ok = match exit {
        Some(at) => at + 1 == actions.len() && actions.len() <= n_layers,
        None => actions.len() == n_layers,
    };
    if ok { Ok(()) } else { Err(RecordingError::Pass { sequence, pass, found: actions.len(), exit, n_layers }) }
}

/// The error of a recording that cannot be made, written, read or repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be read or written, or is not a recording.
    #[error(transparent)]
    File(#[from] FileError),
    /// A pass does not fit the number of layers.
    #[error(
        "pass {pass} of sequence {sequence} has {found} actions and {}; expected {n_layers} actions, or fewer of which only \
         the last is an exit",
        exit.map_or("no exit".to_owned(), |at| format!("its first exit at layer {at}"))
    )]
    Pass {
        /// The sequence.
        sequence: u64,
        /// The pass, from 0.
        pass: usize,
        /// The number of its actions.
        found: usize,
        /// The index of its first exit, if it has one.
        exit: Option<usize>,
        /// The number of layers of the recording.
        n_layers: usize,
    },
    /// A pass holds [`Action::AskBeforeMlp`], which leaves open whether the MLP ran.
    #[error(
        "pass {pass} of sequence {sequence} has ask-before-mlp at layer {layer}; expected the answer, run or skip-mlp"
    )]
    Question {
        /// The sequence.
        sequence: u64,
        /// The pass, from 0.
        pass: usize,
        /// The layer.
        layer: usize,
    },
    /// The recording was made with a model of another number of layers.
    #[error("the recording was made with a model of {found} layers; this model has {expected}")]
    Layers {
        /// The number of layers of the recording.
        found: usize,
        /// The number of layers of the model.
        expected: usize,
    },
    /// The recorded run had another setting, so its passes were others.
    #[error(
        "the recording was made with {setting} {recorded}; this run has {found}, which would give the recorded routes \
         to other tokens: set {setting} to {recorded}"
    )]
    Setting {
        /// The name of the setting, a field of [`RunSettings`].
        setting: &'static str,
        /// Its value in the recorded run.
        recorded: String,
        /// Its value in this run.
        found: String,
    },
    /// A sequence is not in the recording.
    #[error("the recording has no sequence {sequence}")]
    NoSequence {
        /// The sequence.
        sequence: u64,
    },
    /// A sequence continues after the recording ends.
    #[error("the recording has {passes} passes of sequence {sequence}; the run needs pass {pass}, counted from 0")]
    NoPass {
        /// The sequence.
        sequence: u64,
        /// The pass that is needed, from 0.
        pass: usize,
        /// The number of recorded passes.
        passes: usize,
    },
    /// The controller answered with a gate, which cannot be recorded.
    #[error("a gate at layer {layer} cannot be recorded; only actions can")]
    Gate {
        /// The layer.
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
        let json = |error: &RecordingError| matches!(error, RecordingError::File(FileError::Json { .. }));
        assert!(json(&load("{")));
        assert!(load(r#"{"version": 9}"#).to_string().contains("version is 9; expected 1"));
        assert!(json(&load(r#"{"version": 1, "n_layers": 2}"#)));
        let long = load(r#"{"version": 1, "n_layers": 1, "sequences": {"4": [["run"], ["run", "run"]]}}"#);
        assert!(matches!(long, RecordingError::Pass { sequence: 4, pass: 1, found: 2, .. }), "{long}");
        let after = load(r#"{"version": 1, "n_layers": 2, "sequences": {"0": [["exit", "run"]]}}"#);
        assert!(matches!(after, RecordingError::Pass { exit: Some(0), .. }), "{after}");
        assert!(json(&load(r#"{"version": 1, "n_layers": 1, "sequences": {"0": [["fly"]]}}"#)));
        let open = load(r#"{"version": 1, "n_layers": 2, "sequences": {"0": [["run", "ask-before-mlp"]]}}"#);
        assert!(matches!(open, RecordingError::Question { pass: 0, layer: 1, .. }), "{open}");
        let none = Recording::load(folder.path().join("none")).unwrap_err();
        assert!(none.to_string().contains("none: cannot be read"), "{none}");
    }

    #[test]
    fn answers_before_the_mlp_settle_the_layer() {
        let mut recording = Recording::new(2);
        for (answer, expected) in [
            (Action::Run, [Action::Run, Action::Run]),
            (Action::Skip, [Action::SkipMlp, Action::Run]),
            (Action::SkipMlp, [Action::SkipMlp, Action::Run]),
            (Action::Exit, [Action::SkipMlp, Action::Exit]),
        ] {
            recording.open_pass(0);
            recording.add(0, Action::AskBeforeMlp);
            recording.settle(0, answer);
            if answer != Action::Exit {
                recording.add(0, Action::Run);
            }
            assert_eq!(recording.passes(0).unwrap().last().unwrap(), &expected);
        }
        recording.open_pass(0);
        recording.add(0, Action::Run);
        recording.add(0, Action::AskBeforeMlp);
        assert!(matches!(recording.validate(), Err(RecordingError::Question { pass: 4, layer: 1, .. })));
        recording.settle(0, Action::Exit);
        assert_eq!(recording.passes(0).unwrap()[4], [Action::Run, Action::SkipMlp], "there is no next layer");
        recording.validate().unwrap();
        recording.truncate(0, 1);
        assert_eq!(recording.passes(0).unwrap().len(), 1);
        recording.truncate(0, 0);
        assert_eq!(recording, Recording::new(2));
    }
}
