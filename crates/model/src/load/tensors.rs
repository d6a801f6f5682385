//! The tensors of a model by their Hugging Face names. One function visits them all, both to list and to load them.

use super::error::NamedShape;
use crate::config::LlamaConfig;
use crate::decoder::{Attention, Block, Linear, Llama, Mlp, RmsNorm, Rope};
use crate::matrix::Matrix;
use crate::weights::placed;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use std::convert::Infallible;

/// Returns the name and shape of every tensor of a model of this configuration, in loading order.
pub(super) fn expected(config: &LlamaConfig) -> Vec<NamedShape> {
    let mut list = List(Vec::new());
    let Ok(_) = walk(config, &mut list);
    list.0
}

/// Builds a model of this configuration from the tensors of a source, in the types that they have.
///
/// They are asked for one after the other, so that the host holds only one at a time besides those on the device.
pub(super) fn assemble<S>(config: &LlamaConfig, mut source: S) -> Result<Llama, S::Error>
where
    S: Source<Vector = Param<Tensor<1>>, Matrix = Matrix>,
{
    let parts = walk(config, &mut source)?;
    Ok(llama(parts, config))
}

/// Puts a tensor onto the device, in the element type that it has.
pub(super) fn on_device<const D: usize>(data: TensorData, device: &Device) -> Param<Tensor<D>> {
    let options = (device, data.dtype());
    Param::from_tensor(Tensor::from_data(placed(data, device), options))
}

/// A visitor of a model's tensors: [`walk`] asks it for each tensor, which it lists or loads.
pub(super) trait Source {
    type Vector;
    type Matrix;
    type Error;

    fn vector(&mut self, name: String, width: usize) -> Result<Self::Vector, Self::Error>;

    fn matrix(&mut self, name: String, shape: [usize; 2]) -> Result<Self::Matrix, Self::Error>;
}

/// The tensors of a model, each of the type that the source returns.
struct Parts<S: Source> {
    embed_tokens: S::Matrix,
    layers: Vec<LayerParts<S>>,
    norm: S::Vector,
    lm_head: Option<LinearParts<S>>,
}

struct LayerParts<S: Source> {
    q_proj: LinearParts<S>,
    k_proj: LinearParts<S>,
    v_proj: LinearParts<S>,
    o_proj: LinearParts<S>,
    gate_proj: LinearParts<S>,
    up_proj: LinearParts<S>,
    down_proj: LinearParts<S>,
    input_layernorm: S::Vector,
    post_attention_layernorm: S::Vector,
    q_norm: Option<S::Vector>,
    k_norm: Option<S::Vector>,
}

struct LinearParts<S: Source> {
    weight: S::Matrix,
    bias: Option<S::Vector>,
}

/// Asks the source for every tensor of a model of this configuration, in loading order.
fn walk<S: Source>(config: &LlamaConfig, source: &mut S) -> Result<Parts<S>, S::Error> {
    let &LlamaConfig { vocab_size, d_model, d_ff, head_dim, attention_bias: bias, .. } = config;
    let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let embed_tokens = source.matrix("model.embed_tokens.weight".to_owned(), [vocab_size, d_model])?;
    let mut layer = |index: usize| {
        let name = |part: &str| format!("model.layers.{index}.{part}");
        Ok(LayerParts {
            q_proj: linear(source, &name("self_attn.q_proj"), [q, d_model], bias.qkv)?,
            k_proj: linear(source, &name("self_attn.k_proj"), [kv, d_model], bias.qkv)?,
            v_proj: linear(source, &name("self_attn.v_proj"), [kv, d_model], bias.qkv)?,
            o_proj: linear(source, &name("self_attn.o_proj"), [d_model, q], bias.output)?,
            gate_proj: linear(source, &name("mlp.gate_proj"), [d_ff, d_model], bias.mlp)?,
            up_proj: linear(source, &name("mlp.up_proj"), [d_ff, d_model], bias.mlp)?,
            down_proj: linear(source, &name("mlp.down_proj"), [d_model, d_ff], bias.mlp)?,
            input_layernorm: norm(source, &name("input_layernorm"), d_model)?,
            post_attention_layernorm: norm(source, &name("post_attention_layernorm"), d_model)?,
            q_norm: config.qk_norm.then(|| norm(source, &name("self_attn.q_norm"), head_dim)).transpose()?,
            k_norm: config.qk_norm.then(|| norm(source, &name("self_attn.k_norm"), head_dim)).transpose()?,
        })
    };
    let layers = (0..config.n_layers).map(&mut layer).collect::<Result<_, S::Error>>()?;
    let last = norm(source, "model.norm", d_model)?;
    let lm_head =
        (!config.tied_embeddings).then(|| linear(source, "lm_head", [vocab_size, d_model], false)).transpose()?;
    Ok(Parts { embed_tokens, layers, norm: last, lm_head })
}

fn linear<S: Source>(source: &mut S, name: &str, shape: [usize; 2], bias: bool) -> Result<LinearParts<S>, S::Error> {
    let weight = source.matrix(format!("{name}.weight"), shape)?;
    let bias = bias.then(|| source.vector(format!("{name}.bias"), shape[0])).transpose()?;
    Ok(LinearParts { weight, bias })
}

fn norm<S: Source>(source: &mut S, name: &str, width: usize) -> Result<S::Vector, S::Error> {
    source.vector(format!("{name}.weight"), width)
}

/// A source that lists the name and shape of each tensor.
struct List(Vec<NamedShape>);

impl Source for List {
    type Vector = ();
    type Matrix = ();
    type Error = Infallible;

    fn vector(&mut self, name: String, width: usize) -> Result<(), Infallible> {
        self.0.push(NamedShape { name, shape: vec![width] });
        Ok(())
    }

    fn matrix(&mut self, name: String, shape: [usize; 2]) -> Result<(), Infallible> {
        self.0.push(NamedShape { name, shape: shape.to_vec() });
        Ok(())
    }
}

/// Makes the model from its parts.
fn llama<S>(parts: Parts<S>, config: &LlamaConfig) -> Llama
where
    S: Source<Vector = Param<Tensor<1>>, Matrix = Matrix>,
{
    let norm = |weight: Param<Tensor<1>>| RmsNorm { weight: weight.into(), eps: config.norm_eps };
    let linear = |map: LinearParts<S>| Linear { weight: map.weight, bias: map.bias.map(Into::into), adapter: None };
    let block = |(index, layer): (usize, LayerParts<S>)| Block {
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
