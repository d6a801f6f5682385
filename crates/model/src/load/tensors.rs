//! The tensors of a model by their Hugging Face names. One function visits them all, both to list and to load them.

use super::error::NamedShape;
use crate::config::LlamaConfig;
use crate::decoder::{Attention, Block, Linear, Llama, Mlp, RmsNorm, Rope};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use std::convert::Infallible;

/// Returns the name and shape of every tensor of a model of this configuration, in loading order.
pub(super) fn expected(config: &LlamaConfig) -> Vec<NamedShape> {
    let mut list = List(Vec::new());
    let Ok(_) = walk(config, &mut list);
    list.0
}

/// Builds a model of this configuration from the tensors that `fetch` returns, in the element types that they have.
///
/// Each tensor goes to the device as soon as it is fetched, so that the host holds only one at a time.
pub(super) fn assemble<E>(
    config: &LlamaConfig,
    device: &Device,
    fetch: impl FnMut(&NamedShape) -> Result<TensorData, E>,
) -> Result<Llama, E> {
    let parts = walk(config, &mut Fetch { device, fetch })?;
    Ok(llama(parts, config))
}

/// A visitor of a model's tensors: [`walk`] asks it for each tensor, which it lists or loads.
trait Source {
    type Tensor<const D: usize>;
    type Error;

    fn tensor<const D: usize>(&mut self, name: String, shape: [usize; D]) -> Result<Self::Tensor<D>, Self::Error>;

    fn linear(&mut self, name: &str, shape: [usize; 2], bias: bool) -> Result<LinearParts<Self>, Self::Error> {
        let weight = self.tensor(format!("{name}.weight"), shape)?;
        let bias = bias.then(|| self.tensor(format!("{name}.bias"), [shape[0]])).transpose()?;
        Ok(LinearParts { weight, bias })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Self::Tensor<1>, Self::Error> {
        self.tensor(format!("{name}.weight"), [width])
    }
}

/// The tensors of a model, each of the type that the source returns.
struct Parts<S: Source + ?Sized> {
    embed_tokens: S::Tensor<2>,
    layers: Vec<LayerParts<S>>,
    norm: S::Tensor<1>,
    lm_head: Option<LinearParts<S>>,
}

struct LayerParts<S: Source + ?Sized> {
    q_proj: LinearParts<S>,
    k_proj: LinearParts<S>,
    v_proj: LinearParts<S>,
    o_proj: LinearParts<S>,
    gate_proj: LinearParts<S>,
    up_proj: LinearParts<S>,
    down_proj: LinearParts<S>,
    input_layernorm: S::Tensor<1>,
    post_attention_layernorm: S::Tensor<1>,
    q_norm: Option<S::Tensor<1>>,
    k_norm: Option<S::Tensor<1>>,
}

struct LinearParts<S: Source + ?Sized> {
    weight: S::Tensor<2>,
    bias: Option<S::Tensor<1>>,
}

/// Asks the source for every tensor of a model of this configuration, in loading order.
fn walk<S: Source>(config: &LlamaConfig, source: &mut S) -> Result<Parts<S>, S::Error> {
    let &LlamaConfig { vocab_size, d_model, d_ff, head_dim, attention_bias: bias, .. } = config;
    let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let embed_tokens = source.tensor("model.embed_tokens.weight".to_owned(), [vocab_size, d_model])?;
    let mut layer = |index: usize| {
        let name = |part: &str| format!("model.layers.{index}.{part}");
        Ok(LayerParts {
            q_proj: source.linear(&name("self_attn.q_proj"), [q, d_model], bias.qkv)?,
            k_proj: source.linear(&name("self_attn.k_proj"), [kv, d_model], bias.qkv)?,
            v_proj: source.linear(&name("self_attn.v_proj"), [kv, d_model], bias.qkv)?,
            o_proj: source.linear(&name("self_attn.o_proj"), [d_model, q], bias.output)?,
            gate_proj: source.linear(&name("mlp.gate_proj"), [d_ff, d_model], bias.mlp)?,
            up_proj: source.linear(&name("mlp.up_proj"), [d_ff, d_model], bias.mlp)?,
            down_proj: source.linear(&name("mlp.down_proj"), [d_model, d_ff], bias.mlp)?,
            input_layernorm: source.norm(&name("input_layernorm"), d_model)?,
            post_attention_layernorm: source.norm(&name("post_attention_layernorm"), d_model)?,
            q_norm: config.qk_norm.then(|| source.norm(&name("self_attn.q_norm"), head_dim)).transpose()?,
            k_norm: config.qk_norm.then(|| source.norm(&name("self_attn.k_norm"), head_dim)).transpose()?,
        })
    };
    let layers = (0..config.n_layers).map(&mut layer).collect::<Result<_, S::Error>>()?;
    let norm = source.norm("model.norm", d_model)?;
    let lm_head =
        (!config.tied_embeddings).then(|| source.linear("lm_head", [vocab_size, d_model], false)).transpose()?;
    Ok(Parts { embed_tokens, layers, norm, lm_head })
}

/// A source that lists the name and shape of each tensor.
struct List(Vec<NamedShape>);

impl Source for List {
    type Tensor<const D: usize> = ();
    type Error = Infallible;

    fn tensor<const D: usize>(&mut self, name: String, shape: [usize; D]) -> Result<(), Infallible> {
        self.0.push(NamedShape { name, shape: shape.to_vec() });
        Ok(())
    }
}

/// A source that puts the data from `fetch` onto the device.
struct Fetch<'a, F> {
    device: &'a Device,
    fetch: F,
}

impl<F: FnMut(&NamedShape) -> Result<TensorData, E>, E> Source for Fetch<'_, F> {
    type Tensor<const D: usize> = Param<Tensor<D>>;
    type Error = E;

    fn tensor<const D: usize>(&mut self, name: String, shape: [usize; D]) -> Result<Param<Tensor<D>>, E> {
        let data = (self.fetch)(&NamedShape { name, shape: shape.to_vec() })?;
        let options = (self.device, data.dtype());
        Ok(Param::from_tensor(Tensor::from_data(data, options)))
    }
}

/// Makes the model from its parts.
fn llama<F, E>(parts: Parts<Fetch<'_, F>>, config: &LlamaConfig) -> Llama
where
    F: FnMut(&NamedShape) -> Result<TensorData, E>,
{
    let norm = |weight| RmsNorm { weight, eps: config.norm_eps };
    let linear = |map: LinearParts<Fetch<'_, F>>| Linear { weight: map.weight, bias: map.bias };
    let block = |(index, layer): (usize, LayerParts<Fetch<'_, F>>)| Block {
        input_layernorm: norm(layer.input_layernorm),
        self_attn: Attention {
            q_proj: linear(layer.q_proj),
            k_proj: linear(layer.k_proj),
            v_proj: linear(layer.v_proj),
            o_proj: linear(layer.o_proj),
            q_norm: layer.q_norm.map(norm),
            k_norm: layer.k_norm.map(norm),
            head_dim: config.head_dim,
            window: config.windows.get(&index).copied(),
            rotated: !config.unrotated.contains(&index),
        },
        post_attention_layernorm: norm(layer.post_attention_layernorm),
        mlp: Mlp {
            gate_proj: linear(layer.gate_proj),
            up_proj: linear(layer.up_proj),
            down_proj: linear(layer.down_proj),
        },
    };
    Llama {
        embed_tokens: parts.embed_tokens,
        layers: parts.layers.into_iter().enumerate().map(block).collect(),
        norm: norm(parts.norm),
        lm_head: parts.lm_head.map(linear),
        rope: Rope::new(config),
        config: config.clone(),
    }
}
