//! Finished runs on disk, so that a study can be stopped and continued.

use super::{StudyError, StudyTask};
use crate::stored::{Identity, Stored, StoredError};
use dynlayer::inference::GenerateOptions;
use dynlayer::inference::controllers::RouterInput;
use dynlayer::inference::training::{DepthLoss, RouterTraining, StepPart, TrainingError, TrainingFolder};
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Digest, Llama};
use serde_json::json;

/// The folder of finished runs, with a file per run; `None` if runs are not stored.
#[derive(Debug)]
pub(super) struct Store<'a> {
    folder: Option<TrainingFolder<'a>>,
    /// Everything that all runs have in common.
    common: Identity,
}

impl<'a> Store<'a> {
    /// Creates the folder and checks that files can be written there. Without a folder, nothing is read.
    pub(super) fn open<T: StudyTask>(
        folder: Option<TrainingFolder<'a>>,
        model: &Llama,
        task: &T,
        batch: usize,
    ) -> Result<Self, StudyError> {
        let Some(TrainingFolder { path, what }) = folder else {
            return Ok(Self { folder, common: Identity::new() });
        };
        let io = |what| move |source| StoredError::Io { path: path.to_path_buf(), what, source };
        std::fs::create_dir_all(path).map_err(io("the folder cannot be made"))?;
        tempfile::NamedTempFile::new_in(path).map_err(io("nothing can be written there"))?;
        let items = task.items().iter().flat_map(|item| [&item.prompt[..], &item.continuation]);
        // By name, so that no option is forgotten. The study sets the ids.
        let GenerateOptions {
            run,
            max_new_tokens,
            stop_tokens,
            stop_strings,
            tokenizer,
            sampling,
            log_probabilities: _,
            speculation,
            sequence_ids: _,
        } = task.options();
        let common = [
            ("what", json!(what)),
            ("the model's weights", json!(model.weights_digest().map_err(TrainingError::from)?)),
            ("the model's configuration", json!(model.config())),
            ("device", json!(format!("{:?}", model.device()))),
            ("the tokenizer or its chat template", json!(tokenizer.map(Tokenizer::digest).transpose()?)),
            ("the items", json!(Digest::of_tokens(items))),
            ("the number of items that are measured together", json!(batch)),
            ("the settings of generation", json!(run)),
            ("max_new_tokens", json!(max_new_tokens)),
            ("stop_tokens", json!(stop_tokens)),
            ("stop_strings", json!(stop_strings)),
            ("sampling", json!(sampling)),
            ("speculation", json!(speculation)),
        ];
        Ok(Self { folder, common: common.map(|(name, value)| (name.to_owned(), value)).into() })
    }

    /// Returns the place of a run; `None` if runs are not stored.
    pub(super) fn place<T: StudyTask>(&self, recipe: &RouterTraining, task: &T) -> Result<Option<Stored>, StudyError> {
        let Some(TrainingFolder { path, .. }) = self.folder else { return Ok(None) };
        let first = task.batch(recipe.seed, StepPart { step: 0, part: 0 })?.digest();
        let router = Digest::of_weights(&task.router(recipe.seed)).map_err(TrainingError::from)?;
        let mut identity = self.common.clone();
        for (name, value) in
            [("recipe", json!(recipe)), ("the first batch", json!(first)), ("the untrained router", json!(router))]
        {
            identity.insert(name.to_owned(), value);
        }
        let name = format!("{}_{}_{}.json", input_name(recipe.router.input), depth_name(recipe.depth), recipe.seed);
        Ok(Some(Stored::new(path.join(name), identity)))
    }
}

/// Returns the name of an input as in JSON, such as `shuffled-hidden`.
pub fn input_name(input: RouterInput) -> String {
    serde_json::to_value(input).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

fn depth_name(depth: DepthLoss) -> String {
    depth.to_string().replace(' ', "-")
}
