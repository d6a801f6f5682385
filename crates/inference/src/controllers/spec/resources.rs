//! Calibration texts and files for specifications.

use super::super::{CalibrationError, LayerInfluence, StateEffects};
use super::BuildError;
use dynlayer_model::Llama;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Inputs for [`ControllerSpec::build`](crate::controllers::ControllerSpec::build) besides the model: calibration texts or earlier
/// measurements, and files.
///
/// A calibration is measured when a specification first needs it, and then reused. So use one `Resources` per model.
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
    routers: HashMap<PathBuf, Cow<'static, [u8]>>,
    seed: u64,
    /// The layer influence, once it is given or measured. A panic while a lock is held leaves the value unchanged, so a
    /// poisoned lock is used like any other.
    influence: Mutex<Option<LayerInfluence>>,
    /// The state effects that are given or measured so far, by number of clusters.
    effects: Mutex<HashMap<usize, StateEffects>>,
}

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

    /// Sets the seed of random choices in a calibration; 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets a layer influence that was measured before, so that none is measured.
    pub fn influence(self, influence: LayerInfluence) -> Self {
        Self { influence: Mutex::new(Some(influence)), ..self }
    }

    /// Sets state effects that were measured before, for specifications with this number of clusters.
    pub fn effects(mut self, clusters: usize, effects: StateEffects) -> Self {
        self.effects.get_mut().unwrap_or_else(PoisonError::into_inner).insert(clusters, effects);
        self
    }

    pub(in crate::controllers) fn router_bytes(&self, name: &Path) -> Option<Cow<'static, [u8]>> {
        self.routers.get(name).cloned()
    }

    pub(in crate::controllers) fn path(&self, file: &Path) -> PathBuf {
        self.folder.join(file)
    }

    /// The model's layer influence, measured once.
    pub(in crate::controllers) fn measured_influence(&self, model: &Llama) -> Result<LayerInfluence, BuildError> {
        let mut kept = self.influence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(influence) = &*kept {
            return Ok(influence.clone());
        }
        let measured = self.measure("influence", |texts| LayerInfluence::measure(model, texts))?;
        Ok(kept.insert(measured).clone())
    }

    /// The model's state effects for this number of clusters, measured once.
    pub(in crate::controllers) fn measured_effects(
        &self,
        model: &Llama,
        clusters: usize,
    ) -> Result<StateEffects, BuildError> {
        let mut kept = self.effects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(effects) = kept.get(&clusters) {
            return Ok(effects.clone());
        }
        let measured = self.measure("similarity", |texts| StateEffects::measure(model, texts, clusters, self.seed))?;
        Ok(kept.entry(clusters).or_insert(measured).clone())
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
