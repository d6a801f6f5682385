//! The controller that follows a router.

use super::super::spec::{Build, BuildError, Fields, Needs, Resources, Source, SpecForm};
use super::features::{sinusoids, standardise};
use super::shuffle::{Reservoir, permute};
use super::{AnyRouter, Router, RouterError, RouterInput, RouterOptions, noise};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Phase, Site};
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;

/// Runs the layers that a learned [`Router`] chooses: the controller of arXiv 2410.20022.
///
/// In decoding a layer runs where the router's probability is above [`RouterOptions::threshold`]. No noise is added,
/// and each layer costs one host read. In a pass of several tokens the last one decides.
///
/// In [`Phase::Train`] the answer is a gate per token, differentiable in the router's weights alone:
///
/// ```text
/// soft = sigmoid((logit + noise) / temperature)      with standard logistic noise
/// gate = 1 if soft > 1/2, else 0                     forward
/// d gate = d soft                                    backward: straight-through (Bengio et al. 2013)
/// ```
///
/// This is the hard Gumbel softmax over two classes (Jang et al. 2017, arXiv 1611.01144; Maddison et al. 2017). The
/// noise derives from the sequence's seed and stream, the [step](Self::set_step), the position and the layer.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::{LinearRouter, Routed, RouterInput, RouterOptions};
///
/// # fn run(device: &Device) {
/// let router = LinearRouter::new([30, 576], 2.0, 0, device);
/// let options = RouterOptions { input: RouterInput::Embedding, ..RouterOptions::default() };
/// let controller = Routed::new(router, options);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Routed<R> {
    router: R,
    options: RouterOptions,
    step: u64,
    labels: Vec<Range<usize>>,
    reservoir: Reservoir,
    /// The position encoding of the pass, which all layers share, and the positions of its rows.
    positions: Option<(Vec<usize>, Tensor<3>)>,
    /// For [`RouterInput::Constant`]: the action of each layer in decoding, once it is known.
    constant: Vec<Option<Action>>,
}

impl<R> Routed<R> {
    /// Makes a controller from a router.
    pub fn new(router: R, options: RouterOptions) -> Self {
        Self {
            router,
            options,
            step: 0,
            labels: Vec::new(),
            reservoir: Reservoir::default(),
            positions: None,
            constant: Vec::new(),
        }
    }

    /// The router.
    pub fn router(&self) -> &R {
        &self.router
    }

    /// The options of the router.
    pub fn options(&self) -> &RouterOptions {
        &self.options
    }

    /// Returns the router, without the options.
    pub fn into_router(self) -> R {
        self.router
    }

    /// Replaces the router, for example by the one that an optimizer returns after a step.
    pub fn with_router<S>(self, router: S) -> Routed<S> {
        let Self { options, step, labels, reservoir, positions, .. } = self;
        Routed { router, options, step, labels, reservoir, positions, constant: Vec::new() }
    }

    /// Sets the training step that noise and permutations derive from, below 2^48.
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Sets the tokens that [`RouterInput::ShuffledHidden`] permutes in a training pass: for each row the range of its
    /// label tokens, as indices into the pass. Unless there is one range per row, all tokens but the padding are
    /// permuted.
    pub fn set_labels(&mut self, labels: Vec<Range<usize>>) {
        self.labels = labels;
    }
}

impl<R: Router> Routed<R> {
    /// Refuses a model, given by layers and width, that the router was not made for.
    fn check_dimensions(&self, expected: [usize; 2]) -> Result<(), RouterError> {
        match self.router.dimensions() {
            Some(found) if found != expected => Err(RouterError::Dimensions { found, expected }),
            _ => Ok(()),
        }
    }

    /// The features of the last `tokens` tokens of the pass, `[rows, tokens, d_model]`.
    fn features(&mut self, site: &Site<'_>, tokens: usize) -> Tensor<3> {
        let [rows, pass_tokens, d_model] = site.hidden().dims();
        let last = |x: &Tensor<3>| x.clone().detach().narrow(1, pass_tokens - tokens, tokens);
        match self.options.input {
            RouterInput::Hidden => standardise(last(site.hidden())),
            RouterInput::Embedding => standardise(last(site.embedded())),
            RouterInput::Constant => Tensor::ones([rows, tokens, d_model], &site.hidden().device()),
            RouterInput::Position => standardise(self.positions(site, tokens, d_model)),
            RouterInput::ShuffledHidden if site.phase() == Phase::Train => {
                let labels = if self.labels.len() == rows {
                    self.labels.clone()
                } else {
                    site.rows().iter().map(|row| pass_tokens.saturating_sub(row.tokens)..pass_tokens).collect()
                };
                let hidden = site.hidden().clone().detach();
                standardise(permute(hidden, &labels, site.rows(), self.step, site.layer()))
            }
            RouterInput::ShuffledHidden => {
                let states = site.last_hidden().detach();
                let held = self.reservoir.exchange(&states, site.rows(), site.layer());
                standardise(held.unsqueeze_dim::<3>(1))
            }
        }
    }

    fn positions(&mut self, site: &Site<'_>, tokens: usize, d_model: usize) -> Tensor<3> {
        let positions: Vec<usize> = site.rows().iter().map(|row| row.position).collect();
        match &self.positions {
            Some((known, encoding)) if *known == positions && encoding.dims()[1] == tokens => encoding.clone(),
            _ => {
                let encoding = sinusoids(&positions, tokens, d_model, &site.hidden().device());
                self.positions = Some((positions, encoding.clone()));
                encoding
            }
        }
    }

    /// The router's logits, `[rows, tokens]`, or an error if they have another shape.
    fn logits(&self, site: &Site<'_>, features: Tensor<3>) -> Result<Tensor<2>, ControllerError> {
        let [rows, tokens, _] = features.dims();
        let logits = self.router.logits(site.layer(), features);
        let (found, expected) = (logits.dims(), [rows, tokens]);
        if found == expected {
            Ok(logits)
        } else {
            Err(ControllerError::other(RouterError::Logits { layer: site.layer(), found, expected }))
        }
    }

    /// The noisy probability of running, `[rows, tokens]`.
    pub(crate) fn soft_gate(&mut self, site: &Site<'_>) -> Result<Tensor<2>, ControllerError> {
        let tokens = site.hidden().dims()[1];
        let features = self.features(site, tokens);
        let logits = self.logits(site, features)?;
        let noise = noise::logistic(self.step, site.rows(), tokens, site.layer(), &logits.device());
        Ok(sigmoid((logits + noise) / self.options.temperature))
    }

    fn gate(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let soft = self.soft_gate(site)?;
        let hard = soft.clone().detach().greater_elem(0.5).float();
        // The difference is exactly 0 in the forward pass.
        Ok(Decision::Gate(hard + (soft.clone() - soft.detach())))
    }

    fn threshold(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        if let Some(Some(action)) = self.constant.get(site.layer()) {
            return Ok((*action).into());
        }
        let features = self.features(site, 1);
        let logits = self.logits(site, features)?;
        let p = self.options.threshold;
        let least = (p / (1.0 - p)).ln();
        let logits = site.read(logits.squeeze_dim::<1>(1))?;
        let decide = |logit: f32| if logit > least { Action::Run } else { Action::Skip };
        if self.options.input == RouterInput::Constant
            && let Some(first) = logits.first()
        {
            self.constant.resize(site.n_layers(), None);
            self.constant[site.layer()] = Some(decide(*first));
            return Ok(decide(*first).into());
        }
        Ok(Decision::per_row(logits.into_iter().map(decide)))
    }
}

/// The specification of a [`Routed`] whose router is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterSpec {
    /// A file that [`Routed::save`] wrote, relative to [`Resources::folder`], or the name of one given to
    /// [`Resources::router`].
    pub file: PathBuf,
}

impl RouterSpec {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "router:FILE",
        about: "the layers that the learned router in FILE chooses",
        fields: Fields::File,
    };
}

impl Build for RouterSpec {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        let refused = |error| BuildError::file("router", error);
        let device = model.device();
        let routed = match resources.router_source(&self.file)? {
            Source::Given(bytes) => Routed::from_bytes(&self.file, bytes.clone(), &device),
            Source::File(path) => Routed::load(path, &device),
        };
        let routed: Routed<AnyRouter> = routed.map_err(refused)?;
        routed.check_dimensions([model.layers().len(), model.config().d_model]).map_err(refused)?;
        Ok(Box::new(routed))
    }

    fn needs(&self) -> Needs {
        Needs { files: vec![self.file.clone()], ..Needs::default() }
    }
}

impl<R: Router> Controller for Routed<R> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        if self.options.ends.keeps(site.layer(), site.n_layers()) {
            return Ok(Action::Run.into());
        }
        if site.phase() == Phase::Train { self.gate(site) } else { self.threshold(site) }
    }

    /// # Errors
    /// If the threshold or the temperature is out of range, or the router was made for a model of other dimensions.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.reservoir.on(event);
        let Event::Start(setup) = event else { return Ok(()) };
        let RouterOptions { threshold, temperature, .. } = self.options;
        let ok = threshold > 0.0 && threshold < 1.0;
        ControllerError::check(ok, "the router's threshold", threshold, "above 0 and below 1")?;
        let ok = temperature.is_finite() && temperature > 0.0;
        ControllerError::check(ok, "the router's temperature", temperature, "a finite number above 0")?;
        self.check_dimensions([setup.n_layers(), setup.config().d_model]).map_err(ControllerError::other)?;
        self.positions = None;
        self.constant.clear();
        Ok(())
    }
}
