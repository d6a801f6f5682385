//! Skipping of layers that have little effect on similar states.

use super::spec::{Build, BuildError, Fields, Needs, Resources, SpecForm};
use super::{CalibrationError, Ends, StateEffects};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use burn::tensor::{Device, Tensor, TensorData};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// Skips a layer if its effect on similar states, measured beforehand, is below a threshold.
///
/// The effect of a layer on a state is `1 - cos(x, y)`, where `x` enters the layer and `y` leaves it. It is predicted
/// as the mean effect that [`StateEffects`] has for the cluster whose centroid is nearest to `x` by cosine. Effects are
/// measured at full depth, and the more layers are skipped, the more the states differ from the measured ones. So
/// choose a smaller threshold than the mean effects suggest.
///
/// This is skipping by input and output similarity (`ShortGPT`'s block influence, Men et al. 2024, arXiv 2403.03853,
/// equation 1), made dependent on the state. A decision costs a small product and a host read at a layer that has
/// clusters on both sides of the threshold, and nothing at other layers. In a pass of several tokens the last one
/// decides.
///
/// ```no_run
/// use dynlayer_inference::controllers::{SimilaritySkip, StateEffects};
///
/// # fn run(model: &dynlayer_model::Llama, texts: &[Vec<u32>]) -> Result<(), Box<dyn std::error::Error>> {
/// let controller = SimilaritySkip::new(0.02, StateEffects::measure(model, texts, 8, 0)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SimilaritySkip {
    threshold: f32,
    ends: Ends,
    effects: StateEffects,
    /// The clusters of each layer, brought to the device when the layer is first reached.
    layers: Vec<Option<Clusters>>,
}

/// A layer's clusters on the device.
#[derive(Clone, Debug)]
struct Clusters {
    /// `[d_model, clusters]`.
    centroids: Tensor<2>,
    /// `[clusters]`.
    effects: Tensor<1>,
}

impl SimilaritySkip {
    /// Returns a controller that skips layers whose predicted effect is below `threshold`, from 0 (skip none) to 2,
    /// except for the first and the last layer, which always run.
    pub fn new(threshold: f32, effects: StateEffects) -> Self {
        Self { threshold, ends: Ends::default(), effects, layers: Vec::new() }
    }

    /// Sets whether the first and the last layer always run.
    pub fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    fn clusters(&mut self, layer: usize, device: &Device) -> &Clusters {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let (effects, d_model) = (&self.effects.layers()[layer], self.effects.d_model());
        self.layers[layer].get_or_insert_with(|| {
            let centroids: Vec<f32> = effects.iter().flat_map(|cluster| cluster.centroid.iter().copied()).collect();
            let shape = [effects.len(), d_model];
            let effects: Vec<f32> = effects.iter().map(|cluster| cluster.effect).collect();
            Clusters {
                centroids: Tensor::<2>::from_data(TensorData::new(centroids, shape), device).swap_dims(0, 1),
                effects: Tensor::from_floats(effects.as_slice(), device),
            }
        })
    }
}

/// The specification of a [`SimilaritySkip`] whose effects are measured on [`Resources::texts`], or given as
/// [`Resources::effects`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimilaritySpec {
    /// The effect below which a layer is skipped.
    pub threshold: f32,
    /// The largest number of clusters of states per layer.
    #[serde(default = "default_clusters")]
    pub clusters: usize,
    /// The choice to always run the first and the last layer.
    #[serde(default)]
    pub ends: Ends,
}

fn default_clusters() -> usize {
    8
}

impl SimilaritySpec {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "similarity:EFFECT[,clusters=N][,ends=free]",
        about: "the layers that changed similar states by EFFECT or more on calibration text",
        fields: Fields::Values(&["threshold"], &[("clusters", "clusters"), ("ends", "ends")]),
    };
}

impl Build for SimilaritySpec {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        let effects = resources.measured_effects(model, self.clusters)?;
        Ok(Box::new(SimilaritySkip::new(self.threshold, effects).ends(self.ends)))
    }

    fn needs(&self) -> Needs {
        Needs { calibration: true, ..Needs::default() }
    }
}

impl Controller for SimilaritySkip {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let (layer, threshold) = (site.layer(), self.threshold);
        let action = move |effect: f32| if effect < threshold { Action::Skip } else { Action::Run };
        if self.ends.keeps(layer, site.n_layers()) {
            return Ok(Action::Run.into());
        }
        let mut all = self.effects.layers()[layer].iter().map(|cluster| action(cluster.effect));
        if let Some(first) = all.next()
            && all.all(|other| other == first)
        {
            return Ok(first.into());
        }
        let states = site.last_hidden(); // [rows, d_model]
        let clusters = self.clusters(layer, &states.device());
        // The states need not be scaled: their length changes no comparison.
        let nearest = states.matmul(clusters.centroids.clone()).argmax(1).squeeze_dim::<1>(1); // [rows]
        let predicted = site.read(clusters.effects.clone().select(0, nearest))?;
        Ok(Decision::per_row(predicted.into_iter().map(action)))
    }

    /// # Errors
    /// If the threshold is not from 0 to 2, or the effects were measured on a model of other dimensions.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        let threshold = self.threshold;
        let ok = (0.0..=2.0).contains(&threshold);
        ControllerError::check(ok, "the threshold of an effect", threshold, "0 to 2")?;
        self.layers.clear();
        let layers = ("number of layers", self.effects.layers().len(), setup.n_layers());
        let width = ("d_model", self.effects.d_model(), setup.config().d_model);
        for (what, found, expected) in [layers, width] {
            if found != expected {
                return Err(ControllerError::other(CalibrationError::Mismatch { what, found, expected }));
            }
        }
        Ok(())
    }
}
