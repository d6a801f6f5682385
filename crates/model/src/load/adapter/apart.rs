//! Adapters that stand beside a model's weights, read and written in the format of PEFT.

use super::super::error::LoadError;
use super::super::save::{SaveError, check, stored, write};
use super::super::tensors::expected;
use super::{AdapterFile, CONFIG, PREFIX, TENSORS};
use crate::decoder::{Adapter, Llama, LowRank};
use crate::device::WeightDtype;
use burn::tensor::{DType, Tensor, TensorData};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

impl Adapter {
    /// Reads an adapter in the format of PEFT for a model: a folder with `adapter_config.json` and
    /// `adapter_model.safetensors`.
    ///
    /// ```no_run
    /// use dynlayer_model::{Adapter, Checkpoint, WeightDtype};
    /// # #[cfg(feature = "flex")] {
    /// # use burn::tensor::Device;
    ///
    /// let model = Checkpoint::open("SmolLM2-135M-Instruct")?.load(WeightDtype::F16, &Device::flex(), |_| {})?;
    /// let adapter = Adapter::open("my-adapter", &model)?;
    /// let adapted = model.adapted(&adapter)?; // shares the weights of `model`
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The same as for [`Checkpoint::with_adapter`](crate::Checkpoint::with_adapter); if the adapter changes more than maps
    /// of layers, such as the embedding: such an adapter can only be merged; or if it has tensors of layers that its
    /// `layers_to_transform` leaves out, of which merging only warns.
    pub fn open(folder: impl AsRef<Path>, model: &Llama) -> Result<Self, LoadError> {
        let file = AdapterFile::open(folder.as_ref(), model.config(), &expected(model.config()))?;
        let device = model.device();
        let left_out =
            |name: &String| format!("{name}: in a layer that layers_to_transform leaves out; remove the tensor");
        let (mut products, mut problems) = (Vec::new(), file.not_transformed.iter().map(left_out).collect::<Vec<_>>());
        for (weight, product) in &file.products {
            let name = weight.strip_prefix("model.").and_then(|name| name.strip_suffix(".weight"));
            let Some(name) = name.filter(|name| name.starts_with("layers.") && product.base.is_none()) else {
                problems
                    .push(format!("{weight}: only maps of layers can have an adapter beside them; merge it instead"));
                continue;
            };
            let factor = |tensor: &str| {
                let (values, shape) = (file.read(tensor)?, file.file.tensor(tensor)?.shape.clone());
                Ok::<_, LoadError>(Tensor::from_data(TensorData::new(values, shape), (&device, DType::F32)))
            };
            products.push((name.to_owned(), LowRank::new(factor(&product.a)?, factor(&product.b)?, product.scale)));
        }
        if problems.is_empty() {
            return Ok(Self::from_products(products));
        }
        Err(LoadError::AdapterTensors { path: file.file.path().to_path_buf(), problems })
    }

    /// Writes the adapter in the format of PEFT into a folder, which is created if it does not exist. `base` names the
    /// model that it is for, such as `HuggingFaceTB/SmolLM2-135M-Instruct`.
    ///
    /// # Errors
    /// If `dtype` is neither `f32` nor `f16`, if a value is not finite or does not fit it, or if the folder cannot be
    /// written. Each file is written atomically.
    pub fn save(&self, folder: impl AsRef<Path>, base: &str, dtype: WeightDtype) -> Result<(), SaveError> {
        check(dtype)?;
        let mut tensors = Vec::new();
        for (name, product) in self.products() {
            for (factor, tensor) in [("lora_A", product.a.val()), ("lora_B", product.b.val())] {
                tensors.push(stored(format!("{PREFIX}model.{name}.{factor}.weight"), tensor, dtype)?);
            }
        }
        let description = format!("{:#}\n", self.description(base));
        write(folder.as_ref(), (TENSORS, &tensors), (CONFIG, &description), dtype)
    }

    /// The content of `adapter_config.json`.
    fn description(&self, base: &str) -> Value {
        // Names are `layers.0.self_attn.q_proj`.
        let parts = |name: &str| {
            let layer = name.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok()).unwrap_or_default();
            (layer, name.rsplit('.').next().unwrap_or_default().to_owned())
        };
        let (layers, maps): (BTreeSet<usize>, BTreeSet<String>) = self.names().iter().map(|name| parts(name)).unzip();
        // Either the same maps in some layers, or every map by its whole name.
        let grid = layers.len() * maps.len() == self.names().len();
        let whole = || self.names().iter().map(|name| format!("model.{name}")).collect::<Vec<_>>();
        let (rank, alpha) = self.products().next().map_or((8, 8.0), |(_, product)| (product.rank(), alpha(product)));
        let others = |value: &dyn Fn(&LowRank) -> Option<Value>| {
            let others = self.products().filter_map(|(name, product)| Some((format!("model.{name}"), value(product)?)));
            others.collect::<Map<String, Value>>()
        };
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "inference_mode": true,
            "bias": "none",
            "fan_in_fan_out": false,
            "lora_dropout": 0.0,
            "r": rank,
            "lora_alpha": alpha,
            "rank_pattern": others(&|product| (product.rank() != rank).then(|| json!(product.rank()))),
            "alpha_pattern": others(&|product| {
                let own = self::alpha(product);
                (own.to_bits() != alpha.to_bits()).then(|| json!(own))
            }),
            "target_modules": if grid { maps.into_iter().collect::<Vec<_>>() } else { whole() },
            "layers_to_transform": grid.then(|| layers.into_iter().collect::<Vec<_>>()),
        })
    }
}

/// The numerator of a product's scale.
fn alpha(product: &LowRank) -> f64 {
    f64::from(product.scale()) * product.rank() as f64
}
