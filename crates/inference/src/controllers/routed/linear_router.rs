//! A linear map per layer.

use super::Router;
use super::noise::normals;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

/// `logit = w_l . features + b_l` for layer `l`: the controller of arXiv 2410.20022, whose two logits are here the one
/// that decides, their difference.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::LinearRouter;
///
/// # fn run(device: &Device) {
/// let router = LinearRouter::new([30, 576], 2.0, 0, device); // starts with running, probability 0.88
/// # }
/// ```
#[derive(Module, Debug)]
pub struct LinearRouter {
    pub(super) layers: Vec<Gate>,
}

/// One layer's map.
#[derive(Module, Debug)]
pub(super) struct Gate {
    /// `[1, d_model]`.
    pub(super) weight: Param<Tensor<2>>,
    /// `[1]`.
    pub(super) bias: Param<Tensor<1>>,
}

impl Gate {
    pub(super) fn new(weight: Vec<f32>, bias: f32, device: &Device) -> Self {
        let shape = [1, weight.len()];
        Self {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device)),
            bias: Param::from_tensor(Tensor::from_floats([bias], device)),
        }
    }

    /// `[rows, tokens, width]` to `[rows, tokens]`.
    pub(super) fn forward(&self, features: Tensor<3>) -> Tensor<2> {
        let logits = features * self.weight.val().unsqueeze::<3>(); // [rows, tokens, width]
        logits.sum_dim(2).squeeze_dim::<2>(2) + self.bias.val().unsqueeze::<2>()
    }
}

impl LinearRouter {
    /// For `[n_layers, d_model]`: weights normal with standard deviation `0.01 / sqrt(d_model)`, so that a new router
    /// answers `bias` everywhere, nearly.
    pub fn new([n_layers, d_model]: [usize; 2], bias: f32, seed: u64, device: &Device) -> Self {
        let layers = (0..n_layers).map(|layer| {
            let weight = normals(*b"linroute", seed, layer, d_model);
            Gate::new(scaled(weight, 0.01, d_model), bias, device)
        });
        Self { layers: layers.collect() }
    }
}

/// `factor / sqrt(inputs)` times each.
pub(super) fn scaled(mut values: Vec<f32>, factor: f32, inputs: usize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
    let scale = factor / (inputs as f32).sqrt();
    for x in &mut values {
        *x *= scale;
    }
    values
}

impl Router for LinearRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        self.layers[layer].forward(features)
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        Some([self.layers.len(), self.layers.first().map_or(0, |gate| gate.weight.val().dims()[1])])
    }
}
