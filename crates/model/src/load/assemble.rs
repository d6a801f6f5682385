//! A model from its tensors.

use super::error::NamedShape;
use super::expected::expected;
use crate::config::LlamaConfig;
use crate::decoder::{Attention, Block, Linear, Llama, Mlp, RmsNorm, Rope};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// Builds a model of this configuration from tensors that `fetch` delivers in their stored type.
///
/// Each tensor goes to the device as soon as it is there, so that the host holds one at a time.
pub(super) fn assemble<E>(
    config: &LlamaConfig,
    device: &Device,
    mut fetch: impl FnMut(&NamedShape) -> Result<TensorData, E>,
) -> Result<Llama, E> {
    let mut parts = Parts { device: device.clone(), matrices: BTreeMap::new(), vectors: BTreeMap::new() };
    for tensor in expected(config) {
        parts.add(&tensor, fetch(&tensor)?);
    }
    let norm = |parts: &mut Parts, name: &str| RmsNorm { weight: parts.vector(name), eps: config.norm_eps };
    let layers = (0..config.n_layers).map(|i| {
        let at = format!("model.layers.{i}");
        let mut norm = |name: &str| norm(&mut parts, &format!("{at}.{name}.weight"));
        let (input_layernorm, post_attention_layernorm) = (norm("input_layernorm"), norm("post_attention_layernorm"));
        let (q_norm, k_norm) = if config.qk_norm {
            (Some(norm("self_attn.q_norm")), Some(norm("self_attn.k_norm")))
        } else {
            (None, None)
        };
        let mut linear = |name: &str| parts.linear(&format!("{at}.{name}"));
        Block {
            input_layernorm,
            self_attn: Attention {
                q_proj: linear("self_attn.q_proj"),
                k_proj: linear("self_attn.k_proj"),
                v_proj: linear("self_attn.v_proj"),
                o_proj: linear("self_attn.o_proj"),
                q_norm,
                k_norm,
                head_dim: config.head_dim,
            },
            post_attention_layernorm,
            mlp: Mlp {
                gate_proj: linear("mlp.gate_proj"),
                up_proj: linear("mlp.up_proj"),
                down_proj: linear("mlp.down_proj"),
            },
        }
    });
    let layers = layers.collect();
    Ok(Llama {
        layers,
        norm: norm(&mut parts, "model.norm.weight"),
        embed_tokens: parts.matrix("model.embed_tokens.weight"),
        lm_head: (!config.tied_embeddings).then(|| parts.linear("lm_head")),
        rope: Rope::new(config),
        config: config.clone(),
    })
}

/// Tensors on the device, until they are put in their place.
struct Parts {
    device: Device,
    matrices: BTreeMap<String, Param<Tensor<2>>>,
    vectors: BTreeMap<String, Param<Tensor<1>>>,
}

impl Parts {
    fn add(&mut self, tensor: &NamedShape, data: TensorData) {
        let options = (&self.device, data.dtype());
        let name = tensor.name.clone();
        if tensor.shape.len() == 1 {
            self.vectors.insert(name, Param::from_tensor(Tensor::from_data(data, options)));
        } else {
            self.matrices.insert(name, Param::from_tensor(Tensor::from_data(data, options)));
        }
    }

    fn linear(&mut self, name: &str) -> Linear {
        Linear { weight: self.matrix(&format!("{name}.weight")), bias: self.vectors.remove(&format!("{name}.bias")) }
    }

    /// # Panics
    /// If `expected` does not list what `assemble` asks for: a defect of this module, which every test would show.
    fn matrix(&mut self, name: &str) -> Param<Tensor<2>> {
        self.matrices.remove(name).unwrap_or_else(|| unreachable!("{name} is among the expected tensors"))
    }

    fn vector(&mut self, name: &str) -> Param<Tensor<1>> {
        self.vectors.remove(name).unwrap_or_else(|| unreachable!("{name} is among the expected tensors"))
    }
}
