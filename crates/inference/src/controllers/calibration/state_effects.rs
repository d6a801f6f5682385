//! The effect of each layer on states of different kinds.

use super::{CalibrationError, k_means, states};
use crate::{files, random};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Clusters of the states that enter each layer, with the layer's mean effect on each cluster.
///
/// The states of calibration tokens at full depth, scaled to length 1, are divided by spherical k-means; a cluster
/// holds its centroid and the mean of `1 - cos(x, y)` over its tokens, where `x` enters the layer and `y` leaves it.
/// [`SimilaritySkip`](super::super::SimilaritySkip) predicts effects from them.
///
/// ```no_run
/// use dynlayer_inference::controllers::{SimilaritySkip, StateEffects};
///
/// # fn run(model: &dynlayer_model::Llama, texts: &[Vec<u32>]) -> Result<(), Box<dyn std::error::Error>> {
/// let effects = StateEffects::measure(model, texts, 8, 0)?;
/// effects.save("effects.json")?;
/// let controller = SimilaritySkip::new(0.02, effects);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct StateEffects {
    d_model: usize,
    layers: Vec<Vec<StateCluster>>,
}

/// A cluster of similar states that enter a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateCluster {
    /// The mean direction of the states, `[d_model]`, of length 1.
    pub centroid: Vec<f32>,
    /// The layer's mean effect on the states, `1 - cos(x, y)`, from 0 to 2.
    pub effect: f32,
    /// The number of tokens whose states are in the cluster.
    pub tokens: usize,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    d_model: usize,
    state_effects: Vec<Vec<StateCluster>>,
}

impl TryFrom<Raw> for StateEffects {
    type Error = CalibrationError;

    fn try_from(Raw { d_model, state_effects: layers }: Raw) -> Result<Self, CalibrationError> {
        let wrong = |what, found: String, expected| Err(CalibrationError::Value { what, found, expected });
        for clusters in &layers {
            if clusters.is_empty() {
                return wrong("a layer of", "0 clusters".into(), "at least one");
            }
            for cluster in clusters {
                if cluster.centroid.len() != d_model {
                    return wrong("a centroid of width", cluster.centroid.len().to_string(), "d_model");
                }
                if !cluster.centroid.iter().all(|x| x.is_finite()) {
                    return wrong("a centroid with", "a value that is not finite".into(), "finite numbers");
                }
                if !(0.0..=2.0).contains(&cluster.effect) {
                    return wrong("an effect of", cluster.effect.to_string(), "0 to 2");
                }
            }
        }
        Ok(Self { d_model, layers })
    }
}

impl From<StateEffects> for Raw {
    fn from(StateEffects { d_model, layers }: StateEffects) -> Self {
        Self { d_model, state_effects: layers }
    }
}

impl StateEffects {
    /// Measures a model on texts, given as token ids, with at most `clusters` per layer. The same seed gives the
    /// same result.
    ///
    /// # Errors
    /// If there is no text, one is empty, too long or holds unknown tokens, the model computes something that is not a
    /// finite number, or `clusters` is 0.
    pub fn measure(model: &Llama, texts: &[Vec<u32>], clusters: usize, seed: u64) -> Result<Self, CalibrationError> {
        if clusters == 0 {
            return Err(CalibrationError::Value { what: "clusters:", found: "0".into(), expected: "at least 1" });
        }
        let mut layers = Vec::with_capacity(model.layers().len());
        states::walk(model, texts, |states| {
            let mut rng = random::at(random::CLUSTERS, seed, [0, 0, states.layer as u64]);
            let points = unit(states.entering, states.width);
            let (centroids, members) = k_means::cluster(&points, states.width, clusters, &mut rng);
            let mut sums = vec![(0f64, 0usize); centroids.len()];
            for (member, effect) in members.into_iter().zip(states.effects()) {
                sums[member].0 += effect;
                sums[member].1 += 1;
            }
            let clusters = centroids.into_iter().zip(sums).map(|(centroid, (sum, tokens))| {
                #[expect(clippy::cast_possible_truncation, reason = "a mean from 0 to 2")]
                let effect = (sum / tokens as f64) as f32;
                StateCluster { centroid, effect, tokens }
            });
            layers.push(clusters.collect());
        })?;
        Ok(Self { d_model: model.config().d_model, layers })
    }

    /// The clusters of each layer, in order.
    pub fn layers(&self) -> &[Vec<StateCluster>] {
        &self.layers
    }

    /// The width of the states.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Writes a JSON file atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CalibrationError> {
        Ok(files::save_json(path.as_ref(), "state effects", self)?)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or does not hold state effects.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CalibrationError> {
        Ok(files::load_json(path.as_ref(), "state effects")?)
    }
}

/// Scales each row of `[tokens, width]` to length 1; zeros stay zeros.
fn unit(states: &[f32], width: usize) -> Vec<f32> {
    let mut states = states.to_vec();
    for state in states.chunks_exact_mut(width) {
        let norm = state.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if norm > 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "states are f32")]
            let scaled = |x: f32| (f64::from(x) / norm) as f32;
            for x in state {
                *x = scaled(*x);
            }
        }
    }
    states
}
