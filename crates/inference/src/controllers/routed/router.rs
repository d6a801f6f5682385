//! Learned modules that give a logit per token and layer.

use super::noise::normals;
use crate::random;
use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

/// A module that gives each token a logit for running a layer; [`Routed`](super::Routed) makes it a controller.
///
/// ```
/// use burn::module::{Module, Param};
/// use burn::tensor::Tensor;
/// use dynlayer_inference::controllers::Router;
///
/// /// One number per layer for all tokens: the learned constant of arXiv 2410.20022.
/// #[derive(Module, Debug)]
/// struct Constant {
///     logits: Param<Tensor<1>>, // [n_layers]
/// }
///
/// impl Router for Constant {
///     fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
///         let [rows, tokens, _] = features.dims();
///         self.logits.val().narrow(0, layer, 1).unsqueeze::<2>().expand([rows, tokens])
///     }
/// }
/// ```
pub trait Router: Module {
    /// Returns the logit of the probability that this layer runs, for each token; it is positive where the probability
    /// is above 1/2.
    ///
    /// # Shapes
    /// - `features`: `[rows, tokens, d_model]`, detached
    /// - result: `[rows, tokens]`
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2>;

    /// The number of layers and the width of the features that the router was made for, which must be the model's when
    /// a run begins; `None`, the default, if the router fits every model.
    fn dimensions(&self) -> Option<[usize; 2]> {
        None
    }
}

/// A router of any kind that comes with the crate, such as one loaded from a file.
#[derive(Module, Debug)]
pub enum AnyRouter {
    /// A linear map per layer.
    Linear(LinearRouter),
    /// A small MLP per layer.
    Mlp(MlpRouter),
}

impl Router for AnyRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        match self {
            Self::Linear(router) => router.logits(layer, features),
            Self::Mlp(router) => router.logits(layer, features),
        }
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        match self {
            Self::Linear(router) => router.dimensions(),
            Self::Mlp(router) => router.dimensions(),
        }
    }
}

impl From<LinearRouter> for AnyRouter {
    fn from(router: LinearRouter) -> Self {
        Self::Linear(router)
    }
}

impl From<MlpRouter> for AnyRouter {
    fn from(router: MlpRouter) -> Self {
        Self::Mlp(router)
    }
}

/// A linear map from features to numbers.
#[derive(Module, Debug)]
pub(super) struct Linear {
    /// `[outputs, inputs]`.
    pub(super) weight: Param<Tensor<2>>,
    /// `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl Linear {
    pub(super) fn new(weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Self {
        let outputs = bias.len();
        let shape = [outputs, weight.len() / outputs.max(1)];
        Self {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device)),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(bias, [outputs]), device)),
        }
    }

    /// Returns a map to one number, which is nearly `bias`: its weights are normal with standard deviation
    /// `0.01 / sqrt(inputs)`.
    fn nearly_constant(purpose: [u8; 8], inputs: usize, bias: f32, seed: u64, layer: usize, device: &Device) -> Self {
        Self::new(scaled(normals(purpose, seed, layer, inputs), 0.01, inputs), vec![bias], device)
    }

    /// Maps `[rows, tokens, inputs]` to `[rows, tokens]`, for one output.
    fn logit(&self, features: Tensor<3>) -> Tensor<2> {
        let products = features * self.weight.val().unsqueeze::<3>(); // [rows, tokens, inputs]
        products.sum_dim(2).squeeze_dim::<2>(2) + self.bias.val().unsqueeze::<2>()
    }

    fn inputs(&self) -> usize {
        self.weight.val().dims()[1]
    }
}

/// Multiplies each value by `factor / sqrt(inputs)`.
fn scaled(mut values: Vec<f32>, factor: f32, inputs: usize) -> Vec<f32> {
    let scale = factor / (inputs as f32).sqrt();
    for x in &mut values {
        *x *= scale;
    }
    values
}

/// A linear router, `logit = w_l . features + b_l` for layer `l`: the controller of arXiv 2410.20022, with one logit in
/// place of the difference of two.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::LinearRouter;
///
/// # fn run(device: &Device) {
/// let router = LinearRouter::new([30, 576], 2.0, 0, device); // before training, a layer runs with probability 0.88
/// # }
/// ```
#[derive(Module, Debug)]
pub struct LinearRouter {
    pub(super) layers: Vec<Linear>,
}

impl LinearRouter {
    /// Returns a router for `[n_layers, d_model]` with random weights. They are normal with standard deviation
    /// `0.01 / sqrt(d_model)`, so that all logits are nearly `bias`.
    pub fn new([n_layers, d_model]: [usize; 2], bias: f32, seed: u64, device: &Device) -> Self {
        let layer = |layer| Linear::nearly_constant(random::LINEAR_ROUTER, d_model, bias, seed, layer, device);
        Self { layers: (0..n_layers).map(layer).collect() }
    }
}

impl Router for LinearRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        self.layers[layer].logit(features)
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        Some([self.layers.len(), self.layers.first().map_or(0, Linear::inputs)])
    }
}

/// A router with a hidden layer, `logit = w_l . relu(U_l features + c_l) + b_l` for layer `l`, of widths `d_model`,
/// `d_model / 8`, 1: the larger controller of arXiv 2410.20022, with one logit in place of the difference of two.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::MlpRouter;
///
/// # fn run(device: &Device) {
/// let router = MlpRouter::new([30, 576], 2.0, 0, device); // before training, a layer runs with probability 0.88
/// # }
/// ```
#[derive(Module, Debug)]
pub struct MlpRouter {
    pub(super) layers: Vec<Mlp>,
}

/// The MLP of one layer.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    /// `d_model` to the inner width.
    pub(super) up: Linear,
    /// The inner width to 1.
    pub(super) down: Linear,
}

impl MlpRouter {
    /// Returns a router for `[n_layers, d_model]` with random weights. The inner ones are normal with standard
    /// deviation `sqrt(2 / d_model)` (He et al. 2015), the outer ones with `0.01 / sqrt(d_model / 8)`, so that all
    /// logits are nearly `bias`.
    pub fn new([n_layers, d_model]: [usize; 2], bias: f32, seed: u64, device: &Device) -> Self {
        let inner = Self::inner_width(d_model);
        let layer = |layer| {
            let up = normals(random::MLP_UP, seed, layer, inner * d_model);
            let up = scaled(up, std::f32::consts::SQRT_2, d_model);
            let down = Linear::nearly_constant(random::MLP_DOWN, inner, bias, seed, layer, device);
            Mlp { up: Linear::new(up, vec![0.0; inner], device), down }
        };
        Self { layers: (0..n_layers).map(layer).collect() }
    }

    /// The width between the two maps.
    pub(super) fn inner_width(d_model: usize) -> usize {
        (d_model / 8).max(1)
    }
}

impl Router for MlpRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        let Mlp { up, down } = &self.layers[layer];
        let weight = up.weight.val().swap_dims(0, 1).unsqueeze::<3>(); // [1, d_model, inner]
        let inner = features.matmul(weight) + up.bias.val().unsqueeze::<3>(); // [rows, tokens, inner]
        down.logit(relu(inner))
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        Some([self.layers.len(), self.layers.first().map_or(0, |mlp| mlp.up.inputs())])
    }
}
