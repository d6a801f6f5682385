//! Adapters: products of thin matrices that stand beside a model's matrices and are added to them.

use super::low_rank::LowRank;
use super::sublayers::Linear;
use super::{Block, Llama};
use crate::digest::Digest;
use crate::matrix::Matrix;
use crate::random;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor, TensorData};
use rand::Rng;
use std::collections::BTreeSet;

/// The options of a new adapter.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterOptions {
    /// The rank of the products, at least 1.
    pub rank: usize,
    /// The numerator of their scale, alpha / rank.
    pub alpha: f32,
    /// The names of the adapted maps in each layer, such as `q_proj`.
    pub targets: BTreeSet<String>,
    /// The adapted layers; `None` = all.
    pub layers: Option<BTreeSet<usize>>,
    /// The seed of the random `A`.
    pub seed: u64,
}

impl Default for AdapterOptions {
    /// Rank 8 and alpha 16, for all seven maps of all layers.
    fn default() -> Self {
        let targets = MAPS.map(|name| short(name).to_owned()).into_iter().collect();
        Self { rank: 8, alpha: 16.0, targets, layers: None, seed: 0 }
    }
}

/// The names of a layer's maps.
const MAPS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// The name of a map without that of its sublayer.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// An adapter (`LoRA`): products of thin matrices for some of a model's maps.
///
/// [`Llama::adapted`] puts it beside a model's weights, which stay as they are and are shared with the model without
/// the adapter. [`Llama::merged`] adds it to them.
#[derive(Module, Debug)]
pub struct Adapter {
    /// The products, in the order of [`names`](Self::names).
    products: Vec<LowRank>,
    #[module(skip)]
    names: Vec<String>,
}

/// An adapter that does not belong to a model, or cannot be made for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}; expected {expected}")]
pub struct AdapterError {
    /// The option, or the name of the map.
    pub what: String,
    /// The value that was found.
    pub found: String,
    /// The allowed values.
    pub expected: String,
}

impl AdapterError {
    fn new(what: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self { what: what.into(), found: found.to_string(), expected: expected.into() }
    }
}

impl Adapter {
    /// Makes an adapter that changes nothing: `B` is 0, and `A` is uniform with a mean of 0 and a variance of 1 / in. The
    /// same seed gives the same `A` on every device.
    ///
    /// # Errors
    /// If an option is out of its range, or if the model has no such layer.
    pub fn new(model: &Llama, options: &AdapterOptions) -> Result<Self, AdapterError> {
        let AdapterOptions { rank, alpha, targets, layers, seed } = options;
        if *rank == 0 {
            return Err(AdapterError::new("the rank", rank, "at least 1"));
        }
        if !alpha.is_finite() || *alpha == 0.0 {
            return Err(AdapterError::new("alpha", alpha, "a finite number other than 0"));
        }
        if let Some(target) = targets.iter().find(|target| !MAPS.map(short).contains(&target.as_str())) {
            return Err(AdapterError::new("a target", target, MAPS.map(short).join(", ")));
        }
        let n_layers = model.layers.len();
        if let Some(layer) = layers.iter().flatten().find(|layer| **layer >= n_layers) {
            return Err(AdapterError::new("a layer", layer, format!("a number below {n_layers}")));
        }
        let (device, mut rng) = (model.device(), random::generator(random::ADAPTER, *seed));
        let (mut products, mut names) = (Vec::new(), Vec::new());
        let chosen = |layer: usize, name: &str| {
            layers.as_ref().is_none_or(|layers| layers.contains(&layer)) && targets.contains(short(name))
        };
        for (layer, name, map) in model.clone().maps_mut().filter(|(layer, name, _)| chosen(*layer, name)) {
            let [outputs, inputs] = map.dims();
            #[expect(clippy::cast_precision_loss, reason = "widths and ranks are far below 2^24")]
            let (bound, scale) = ((3.0 / inputs as f32).sqrt(), alpha / *rank as f32);
            let a: Vec<f32> = (0..rank * inputs).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect();
            let a = Tensor::from_data(TensorData::new(a, [*rank, inputs]), (&device, DType::F32));
            let b = Tensor::zeros([outputs, *rank], (&device, DType::F32));
            products.push(LowRank::new(a, b, scale));
            names.push(format!("layers.{layer}.{name}"));
        }
        if products.is_empty() {
            return Err(AdapterError::new("the number of adapted maps", 0, "at least one target and layer"));
        }
        Ok(Self { products, names })
    }

    pub(crate) fn from_products(products: impl IntoIterator<Item = (String, LowRank)>) -> Self {
        let (names, products) = products.into_iter().unzip();
        Self { products, names }
    }

    /// The names of the adapted maps, such as `layers.0.self_attn.q_proj`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the digest of what the adapter is, besides its factors: the names of its maps, and the scales.
    pub fn form(&self) -> Digest {
        let scale = |(name, product): (&str, &LowRank)| [name.as_bytes(), &product.scale.to_le_bytes()].concat();
        Digest::of(self.products().map(scale))
    }

    /// The products, each with the name of its map.
    pub fn products(&self) -> impl ExactSizeIterator<Item = (&str, &LowRank)> {
        self.names.iter().map(String::as_str).zip(&self.products)
    }
}

impl Llama {
    /// Returns the model with the adapter beside its weights, which are not copied. An adapter that is there already is
    /// replaced. Both must be on the same device, with or without autodiff.
    ///
    /// # Errors
    /// If the model has no map of a name, or if a map has another shape.
    pub fn adapted(&self, adapter: &Adapter) -> Result<Self, AdapterError> {
        let mut model = self.without_adapter();
        for (name, product) in adapter.products() {
            let map = model.map_mut(name);
            let map = map.ok_or_else(|| AdapterError::new("an adapted map", name, "the name of a map of the model"))?;
            if map.dims() != product.dims() {
                let [found, expected] = [product.dims(), map.dims()].map(|dims| format!("of shape {dims:?}"));
                return Err(AdapterError::new(name, found, expected));
            }
            map.adapter = Some(product.clone());
        }
        Ok(model)
    }

    /// Returns the model without its adapter, if it has one. Weights are not copied.
    pub fn without_adapter(&self) -> Self {
        let mut model = self.clone();
        model.maps_mut().for_each(|(_, _, map)| map.adapter = None);
        model
    }

    /// Returns the adapter beside the weights, if there is one.
    pub fn adapter(&self) -> Option<Adapter> {
        let mut model = self.clone();
        let products = model
            .maps_mut()
            .filter_map(|(layer, name, map)| Some((format!("layers.{layer}.{name}"), map.adapter.take()?)));
        let adapter = Adapter::from_products(products);
        (!adapter.names.is_empty()).then_some(adapter)
    }

    /// Returns the model with its adapter added to its weights, which are copied where they change. The sum is made in
    /// `f32` and rounded to the type of the weights once, in which it may be too large for `f16`; quantised blocks become
    /// `f32`. No gradients reach the adapter through it.
    #[must_use]
    pub fn merged(&self) -> Self {
        self.merged_as(|weight| weight)
    }

    /// Merges the adapter as [`merged`](Self::merged) does, into weights of the type that is chosen by theirs.
    pub(crate) fn merged_as(&self, dtype: impl Fn(DType) -> DType) -> Self {
        let mut model = self.clone();
        for (_, _, map) in model.maps_mut() {
            let Some(product) = map.adapter.take() else { continue };
            let weight = map.weight.tensor().detach();
            let dtype = dtype(weight.dtype());
            let product = product.b.val().detach().matmul(product.a.val().detach()).mul_scalar(product.scale);
            let sum = product + weight.cast(DType::F32);
            map.weight = Matrix::from(Param::from_tensor(sum.cast(dtype).detach()));
        }
        model
    }

    /// The map of a name such as `layers.0.self_attn.q_proj`.
    fn map_mut(&mut self, name: &str) -> Option<&mut Linear> {
        let of = |layer: usize, found: &str| {
            let rest = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
            rest.is_some_and(|(number, rest)| rest == found && number == layer.to_string())
        };
        self.maps_mut().find_map(|(layer, found, map)| of(layer, found).then_some(map))
    }

    /// The maps of all layers, each with the number of its layer and its name there.
    fn maps_mut(&mut self) -> impl Iterator<Item = (usize, &'static str, &mut Linear)> {
        self.layers.iter_mut().enumerate().flat_map(|(layer, block)| {
            MAPS.into_iter().zip(block.maps_mut()).map(move |(name, map)| (layer, name, map))
        })
    }
}

impl Block {
    /// The maps of the layer, in the order of [`MAPS`].
    fn maps_mut(&mut self) -> [&mut Linear; 7] {
        let (attention, mlp) = (&mut self.self_attn, &mut self.mlp);
        [
            &mut attention.q_proj,
            &mut attention.k_proj,
            &mut attention.v_proj,
            &mut attention.o_proj,
            &mut mlp.gate_proj,
            &mut mlp.up_proj,
            &mut mlp.down_proj,
        ]
    }
}
