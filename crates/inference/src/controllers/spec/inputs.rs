//! Digests of what the controllers of specifications are made from.

use super::super::{ControllerSpec, Recording};
use super::resources::Inputs;
use super::{BuildError, Resources, Source};
use dynlayer_model::Digest;
use std::borrow::Cow;
use std::collections::BTreeMap;

impl ControllerSpec {
    /// The digests of everything that [`build`](Self::build) takes from the resources, by name: `router`, `recording`,
    /// `calibration texts`, `calibration seed` or `given measurement`.
    ///
    /// A measurement counts by its texts and its seed, since another machine may round its numbers differently.
    ///
    /// # Errors
    /// If a file is refused or cannot be read.
    ///
    /// ```
    /// use dynlayer_inference::controllers::{ControllerSpec, Resources};
    ///
    /// let resources = |id| Resources::new().texts(vec![vec![1, 2, id]]);
    /// let spec: ControllerSpec = "budgeted:18:influence:20".parse()?;
    /// let inputs = spec.inputs(&resources(3))?;
    /// assert!(inputs.keys().eq(["calibration texts"]));
    /// assert_ne!(inputs, spec.inputs(&resources(4))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inputs(&self, resources: &Resources) -> Result<BTreeMap<String, Digest>, BuildError> {
        let (name, digest) = match self {
            Self::Router(router) => {
                let digest = match resources.router_source(&router.file)? {
                    Source::Given(bytes) => Digest::of([bytes]),
                    Source::File(path) => {
                        let bytes = std::fs::read(path).map_err(|error| BuildError::file("router", error))?;
                        Digest::of([bytes])
                    }
                };
                ("router", digest)
            }
            Self::Replay(replay) => {
                let refused = |error| BuildError::file("replay", error);
                let recording = match resources.recording_source(&replay.file)? {
                    Source::Given(recording) => Cow::Borrowed(recording),
                    Source::File(path) => Cow::Owned(Recording::load(path).map_err(refused)?),
                };
                let json = serde_json::to_vec(&*recording).map_err(|error| BuildError::file("replay", error))?;
                ("recording", Digest::of([json]))
            }
            Self::Influence(_) => return Ok(resources.influence_inputs()),
            Self::Similarity(similarity) => return Ok(resources.effects_inputs(similarity.clusters)),
            Self::Budgeted(budgeted) => return budgeted.inner().inputs(resources),
            Self::Warmup(warm_up) => return warm_up.inner().inputs(resources),
            _ => return Ok(Inputs::new()),
        };
        Ok(Inputs::from([(name.to_owned(), digest)]))
    }
}
