//! Finished runs on disk, so that a study can be stopped and continued.

use super::{StudyError, StudyRun};
use dynlayer::inference::controllers::RouterInput;
use dynlayer::inference::training::{DepthLoss, RouterTraining, TrainingFolder};
use dynlayer::model::format::write_atomic;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The folder of finished runs, with a file per run; `None` if runs are not stored.
#[derive(Debug)]
pub(super) struct Store<'a>(Option<TrainingFolder<'a>>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The recipe of the run, as JSON.
    identity: String,
    run: StudyRun,
}

impl<'a> Store<'a> {
    /// Creates the folder and checks that files can be written there.
    pub(super) fn open(folder: Option<TrainingFolder<'a>>) -> Result<Self, StudyError> {
        if let Some(TrainingFolder { path, .. }) = folder {
            let io = |what| move |source| StudyError::Io { path: path.to_path_buf(), what, source };
            std::fs::create_dir_all(path).map_err(io("the folder cannot be made"))?;
            tempfile::NamedTempFile::new_in(path).map_err(io("nothing can be written there"))?;
        }
        Ok(Self(folder))
    }

    /// Reads a run that was finished before; `None` if it was not.
    pub(super) fn load(&self, recipe: &RouterTraining, items: usize) -> Result<Option<StudyRun>, StudyError> {
        let Some((path, expected)) = self.place(recipe, items)? else { return Ok(None) };
        if !path.exists() {
            return Ok(None);
        }
        let io = |source| StudyError::Io { path: path.clone(), what: "cannot be read", source };
        let text = std::fs::read_to_string(&path).map_err(io)?;
        let json = |source| StudyError::Json { path: path.clone(), source };
        let File { identity: found, run } = serde_json::from_str(&text).map_err(json)?;
        if found == expected { Ok(Some(run)) } else { Err(StudyError::Stored { path, found, expected }) }
    }

    /// Stores a finished run.
    pub(super) fn save(&self, recipe: &RouterTraining, items: usize, run: &StudyRun) -> Result<(), StudyError> {
        let Some((path, identity)) = self.place(recipe, items)? else { return Ok(()) };
        let file = File { identity, run: run.clone() };
        let text = serde_json::to_vec(&file).map_err(|source| StudyError::Json { path: path.clone(), source })?;
        write_atomic(&path, &text).map_err(|source| StudyError::Io { path, what: "cannot be written", source })
    }

    /// Returns the file of a run and its recipe as JSON; `None` if runs are not stored.
    fn place(&self, recipe: &RouterTraining, items: usize) -> Result<Option<(PathBuf, String)>, StudyError> {
        let Some(TrainingFolder { path, what }) = self.0 else { return Ok(None) };
        let json = |source| StudyError::Json { path: path.to_path_buf(), source };
        let identity = serde_json::to_string(&(what, recipe, items)).map_err(json)?;
        let name = format!("{}_{}_{}.json", input_name(recipe.router.input), depth_name(recipe.depth), recipe.seed);
        Ok(Some((path.join(name), identity)))
    }
}

/// Returns the name of an input as in JSON, such as `shuffled-hidden`.
pub fn input_name(input: RouterInput) -> String {
    serde_json::to_value(input).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

fn depth_name(depth: DepthLoss) -> String {
    depth.to_string().replace(' ', "-")
}
