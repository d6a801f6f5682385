//! A small MLP per layer.

use super::Router;
use super::linear_router::{Gate, scaled};
use super::noise::normals;
use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

/// `logit = w_l . relu(U_l features + c_l) + b_l` for layer `l`, of widths `d_model`, `d_model / 8`, 1: the larger
/// controller of arXiv 2410.20022, with one logit in place of two.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::MlpRouter;
///
/// # fn run(device: &Device) {
/// let router = MlpRouter::new([30, 576], 2.0, 0, device); // starts with running, probability 0.88
/// # }
/// ```
#[derive(Module, Debug)]
pub struct MlpRouter {
    pub(super) layers: Vec<MlpGate>,
}

/// One layer's MLP.
#[derive(Module, Debug)]
pub(super) struct MlpGate {
    /// `[hidden, d_model]`.
    pub(super) up: Param<Tensor<2>>,
    /// `[hidden]`.
    pub(super) up_bias: Param<Tensor<1>>,
    pub(super) down: Gate,
}

/// Width between the two maps.
pub(super) fn hidden_width(d_model: usize) -> usize {
    (d_model / 8).max(1)
}

impl MlpGate {
    pub(super) fn new(up: Vec<f32>, up_bias: Vec<f32>, down: Gate, device: &Device) -> Self {
        let hidden = up_bias.len();
        let shape = [hidden, up.len() / hidden.max(1)];
        Self {
            up: Param::from_tensor(Tensor::from_data(TensorData::new(up, shape), device)),
            up_bias: Param::from_tensor(Tensor::from_data(TensorData::new(up_bias, [hidden]), device)),
            down,
        }
    }
}

impl MlpRouter {
    /// For `[n_layers, d_model]`: the inner weights normal with standard deviation `sqrt(2 / d_model)` (He et al.
    /// 2015), the outer ones `0.01 / sqrt(d_model / 8)`, so that a new router answers `bias` everywhere, nearly.
    pub fn new([n_layers, d_model]: [usize; 2], bias: f32, seed: u64, device: &Device) -> Self {
        let hidden = hidden_width(d_model);
        let layers = (0..n_layers).map(|layer| {
            let up = normals(*b"mlpruppr", seed, layer, hidden * d_model);
            let down = normals(*b"mlprdown", seed, layer, hidden);
            let down = Gate::new(scaled(down, 0.01, hidden), bias, device);
            MlpGate::new(scaled(up, std::f32::consts::SQRT_2, d_model), vec![0.0; hidden], down, device)
        });
        Self { layers: layers.collect() }
    }
}

impl Router for MlpRouter {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        let gate = &self.layers[layer];
        let up = gate.up.val().swap_dims(0, 1).unsqueeze::<3>(); // [1, d_model, hidden]
        let inner = features.matmul(up) + gate.up_bias.val().unsqueeze::<3>(); // [rows, tokens, hidden]
        gate.down.forward(relu(inner))
    }

    fn dimensions(&self) -> Option<[usize; 2]> {
        Some([self.layers.len(), self.layers.first().map_or(0, |gate| gate.up.val().dims()[1])])
    }
}
