//! What specifications refer to.

use super::super::{BlockInfluence, CalibrationError, StateEffects};
use dynlayer_model::Llama;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What building a [`ControllerSpec`](super::ControllerSpec) may need beside the model: calibration texts, and the
/// folder of its files.
///
/// A calibration is measured when a specification first needs it, and kept: use one `Resources` per model.
///
/// ```
/// use dynlayer_inference::controllers::{BlockInfluence, ControllerSpec, Resources};
/// # fn run(model: &dynlayer_model::Llama, tokens: Vec<u32>) -> Result<(), Box<dyn std::error::Error>> {
/// let resources = Resources::new().texts(vec![tokens]);
/// let controller = "influence:28".parse::<ControllerSpec>()?.build(model, &resources)?;
///
/// // Or with what was measured before.
/// let resources = Resources::new().influence(BlockInfluence::load("influence.json")?);
/// let controller = "influence:28".parse::<ControllerSpec>()?.build(model, &resources)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Resources {
    texts: Vec<Vec<u32>>,
    folder: PathBuf,
    seed: u64,
    influence: Mutex<Option<BlockInfluence>>,
    /// By the number of clusters asked for.
    effects: Mutex<HashMap<usize, StateEffects>>,
}

impl Resources {
    /// Nothing: enough for specifications that need none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Texts to calibrate on, as token ids, each no longer than the model's context.
    pub fn texts(self, texts: Vec<Vec<u32>>) -> Self {
        Self { texts, ..self }
    }

    /// The folder that files of specifications are relative to; by default the current one.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..self }
    }

    /// What random choices of a calibration derive from; 0 by default.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// A block influence that was measured before, instead of a measurement.
    pub fn influence(self, influence: BlockInfluence) -> Self {
        Self { influence: Mutex::new(Some(influence)), ..self }
    }

    /// Effects that were measured before, for specifications that ask for this many clusters.
    pub fn effects(self, clusters: usize, effects: StateEffects) -> Self {
        Self { effects: Mutex::new(HashMap::from([(clusters, effects)])), ..self }
    }

    pub(super) fn path(&self, file: &Path) -> PathBuf {
        self.folder.join(file)
    }

    /// Whether nothing can be measured.
    fn no_texts(&self) -> bool {
        self.texts.is_empty()
    }

    /// The model's block influence; `None` without texts.
    pub(super) fn measured_influence(&self, model: &Llama) -> Result<Option<BlockInfluence>, CalibrationError> {
        // A panic while it was held left it as it was: measured or not.
        let mut kept = self.influence.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.is_none() && !self.no_texts() {
            *kept = Some(BlockInfluence::measure(model, &self.texts)?);
        }
        Ok(kept.clone())
    }

    /// The model's effects by this many clusters; `None` without texts.
    pub(super) fn measured_effects(
        &self,
        model: &Llama,
        clusters: usize,
    ) -> Result<Option<StateEffects>, CalibrationError> {
        let mut kept = self.effects.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(effects) = kept.get(&clusters) {
            return Ok(Some(effects.clone()));
        }
        if self.no_texts() {
            return Ok(None);
        }
        let effects = StateEffects::measure(model, &self.texts, clusters, self.seed)?;
        kept.insert(clusters, effects.clone());
        Ok(Some(effects))
    }
}
