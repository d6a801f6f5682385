//! Calibration texts, routers and recordings for specifications.

use super::super::{CalibrationError, ControllerSpec, LayerInfluence, Recording, StateEffects};
use super::BuildError;
use dynlayer_model::{Digest, Llama};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The inputs besides the model that [`ControllerSpec::build`] needs for one specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// The routers and recordings, by the file names in the specification. Each is read from [`Resources::folder`]
    /// unless it was given by that name.
    pub files: Vec<PathBuf>,
    /// `true` if a measurement of the model is needed, which is made on [`Resources::texts`] unless it was given.
    pub calibration: bool,
}

/// Inputs for [`ControllerSpec::build`] besides the model: calibration texts or earlier measurements, and files.
///
/// A calibration is measured when a specification first needs it, or [ahead](Self::prepare), and then reused. So use
/// one `Resources` per model.
///
/// ```
/// use dynlayer_inference::controllers::{ControllerSpec, LayerInfluence, Resources};
/// # fn run(model: &dynlayer_model::Llama, tokens: Vec<u32>) -> Result<(), Box<dyn std::error::Error>> {
/// let resources = Resources::new().texts(vec![tokens]);
/// let controller = "influence:28".parse::<ControllerSpec>()?.build(model, &resources)?;
///
/// // Or with an earlier measurement.
/// let resources = Resources::new().influence(LayerInfluence::load("influence.json")?);
/// let controller = "influence:28".parse::<ControllerSpec>()?.build(model, &resources)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Resources {
    texts: Vec<Vec<u32>>,
    folder: PathBuf,
    refuses_files: bool,
    routers: BTreeMap<PathBuf, Cow<'static, [u8]>>,
    recordings: BTreeMap<PathBuf, Recording>,
    seed: u64,
    /// The layer influence, once it is given or measured. A panic while a lock is held leaves the value unchanged, so a
    /// poisoned lock is used like any other.
    influence: Mutex<Option<Measured<LayerInfluence>>>,
    /// The state effects that are given or measured so far, by number of clusters.
    effects: Mutex<HashMap<usize, Measured<StateEffects>>>,
}

/// Digests by name.
pub(super) type Inputs = BTreeMap<String, Digest>;

/// A measurement, with the digests of what it comes from.
type Measured<T> = (T, Inputs);

impl Resources {
    /// Returns resources without texts, whose folder is the current one; these are enough for most specifications.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the texts to calibrate on, as token ids, each no longer than the model's context.
    pub fn texts(self, texts: Vec<Vec<u32>>) -> Self {
        Self { texts, ..self }
    }

    /// Sets the folder that the file names in specifications are relative to; by default the current one.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// Adds a router's file in memory, such as one compiled in by `include_bytes!`. The specification `router:NAME`
    /// then reads these bytes instead of a file in the folder.
    pub fn router(mut self, name: impl Into<PathBuf>, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        self.routers.insert(name.into(), bytes.into());
        self
    }

    /// Adds a recording in memory. The specification `replay:NAME` then repeats it instead of one in a file.
    pub fn recording(mut self, name: impl Into<PathBuf>, recording: Recording) -> Self {
        self.recordings.insert(name.into(), recording);
        self
    }

    /// Refuses every file that a specification names: only routers and recordings that were given by name can be used.
    /// It is meant for specifications from others, such as the clients of a service.
    ///
    /// ```
    /// use dynlayer_inference::controllers::{BuildError, ControllerSpec, Resources};
    /// # let model = dynlayer_inference::conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
    /// let resources = Resources::new().without_files();
    /// let spec: ControllerSpec = "replay:/etc/passwd".parse()?;
    /// assert!(matches!(spec.build(&model, &resources), Err(BuildError::FileRefused { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_files(self) -> Self {
        Self { refuses_files: true, ..self }
    }

    /// Measures what these specifications need, so that building them later measures nothing. Each one is built once,
    /// which also finds files that cannot be used.
    ///
    /// # Errors
    /// The first error of building one of them.
    pub fn prepare<'s>(
        &self,
        model: &Llama,
        specs: impl IntoIterator<Item = &'s ControllerSpec>,
    ) -> Result<(), BuildError> {
        specs.into_iter().try_for_each(|spec| spec.build(model, self).map(drop))
    }

    /// Sets the seed of random choices in a calibration; 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets a layer influence that was measured before, so that none is measured.
    pub fn influence(self, influence: LayerInfluence) -> Self {
        let inputs = given(&influence);
        Self { influence: Mutex::new(Some((influence, inputs))), ..self }
    }

    /// Sets state effects that were measured before, for specifications with this number of clusters.
    pub fn effects(mut self, clusters: usize, effects: StateEffects) -> Self {
        let inputs = given(&effects);
        self.effects.get_mut().unwrap_or_else(PoisonError::into_inner).insert(clusters, (effects, inputs));
        self
    }

    /// Finds the router that a specification names.
    pub(in crate::controllers) fn router_source(
        &self,
        file: &Path,
    ) -> Result<Source<'_, Cow<'static, [u8]>>, BuildError> {
        self.source("router", &self.routers, file)
    }

    /// Finds the recording that a specification names.
    pub(in crate::controllers) fn recording_source(&self, file: &Path) -> Result<Source<'_, Recording>, BuildError> {
        self.source("replay", &self.recordings, file)
    }

    /// Finds what a specification names, among the given ones or on the disk. Builders find files only through this
    /// method, so that none of them opens a file where files are refused.
    fn source<'a, T>(
        &self,
        controller: &'static str,
        given: &'a BTreeMap<PathBuf, T>,
        file: &Path,
    ) -> Result<Source<'a, T>, BuildError> {
        match given.get(file) {
            Some(content) => Ok(Source::Given(content)),
            None if self.refuses_files => {
                let known: Vec<String> = given.keys().map(|name| name.display().to_string()).collect();
                let known = if known.is_empty() { "none was".to_owned() } else { known.join(", ") };
                Err(BuildError::FileRefused { controller, file: file.to_path_buf(), known })
            }
            None => Ok(Source::File(self.folder.join(file))),
        }
    }

    /// The model's layer influence, measured once.
    pub(in crate::controllers) fn measured_influence(&self, model: &Llama) -> Result<LayerInfluence, BuildError> {
        let mut kept = self.influence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((influence, _)) = &*kept {
            return Ok(influence.clone());
        }
        let measured = self.measure("influence", |texts| LayerInfluence::measure(model, texts))?;
        Ok(kept.insert((measured, self.texts_inputs())).0.clone())
    }

    /// The digests of what the layer influence comes from, or will come from.
    pub(super) fn influence_inputs(&self) -> Inputs {
        let kept = self.influence.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map_or_else(|| self.texts_inputs(), |(_, inputs)| inputs.clone())
    }

    /// The digests of what the state effects for this number of clusters come from, or will come from.
    pub(super) fn effects_inputs(&self, clusters: usize) -> Inputs {
        let kept = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&clusters).map_or_else(|| self.seeded_inputs(), |(_, inputs)| inputs.clone())
    }

    fn texts_inputs(&self) -> Inputs {
        let texts = self.texts.iter().map(Vec::as_slice);
        Inputs::from([("calibration texts".to_owned(), Digest::of_tokens(texts))])
    }

    fn seeded_inputs(&self) -> Inputs {
        let mut inputs = self.texts_inputs();
        inputs.insert("calibration seed".to_owned(), Digest::of([self.seed.to_le_bytes()]));
        inputs
    }

    /// The model's state effects for this number of clusters, measured once.
    pub(in crate::controllers) fn measured_effects(
        &self,
        model: &Llama,
        clusters: usize,
    ) -> Result<StateEffects, BuildError> {
        let mut kept = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((effects, _)) = kept.get(&clusters) {
            return Ok(effects.clone());
        }
        let measured = self.measure("similarity", |texts| StateEffects::measure(model, texts, clusters, self.seed))?;
        Ok(kept.entry(clusters).or_insert((measured, self.seeded_inputs())).0.clone())
    }

    fn measure<T>(
        &self,
        controller: &'static str,
        measure: impl FnOnce(&[Vec<u32>]) -> Result<T, CalibrationError>,
    ) -> Result<T, BuildError> {
        if self.texts.is_empty() {
            return Err(BuildError::NoCalibrationText { controller });
        }
        measure(&self.texts).map_err(|source| BuildError::Calibration { controller, source })
    }
}

/// The inputs of a measurement that was given. Its numbers were not measured here, so they are the same everywhere.
fn given(measurement: &impl fmt::Debug) -> Inputs {
    Inputs::from([("given measurement".to_owned(), Digest::of([format!("{measurement:?}")]))])
}

/// The place of a router or a recording.
pub(in crate::controllers) enum Source<'a, T> {
    /// In memory, given by name.
    Given(&'a T),
    /// In this file.
    File(PathBuf),
}
