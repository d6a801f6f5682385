//! Layers and their sublayers on GPUs, for passes of a few tokens, in a few launches each.
//!
//! Arguments for which there are no kernels are given back: the tensor operations of [`sublayers`](super::sublayers) then
//! compute the same.
#![expect(clippy::result_large_err, reason = "a tensor that is given back is not an error, and a box would allocate")]

use super::frame::SeenSlots;
use super::sublayers::{Attention, Linear, Mlp, RmsNorm};
use super::{Frame, LayerKv};
use crate::matrix::Matrix;
use crate::ops::gpu::{
    AttentionMaps, Cached, Form, KvMaps, MlpMaps, Optional, Pools, Sublayers, attends, normed_linear, takes, vector,
    weights,
};
use burn::backend::Dispatch;
use burn::tensor::{DispatchTensor, Tensor};
use burn_cubecl::tensor::CubeTensor;
use std::sync::Arc;

/// Runs a whole layer: an attention and an MLP, each with its norm.
pub(super) fn layer(
    (input_norm, attention): (&RmsNorm, &Attention),
    (inner_norm, mlp): (&RmsNorm, &Mlp),
    hidden: Tensor<3>,
    frame: &Frame,
    kv: &mut LayerKv,
) -> Result<Tensor<3>, Tensor<3>> {
    let parts = || {
        let seen = seen(&hidden, attention, frame).filter(|_| takes(&hidden, mlp.gate_proj.dims()[0]))?;
        Some((seen, attention_maps(input_norm, attention)?, mlp_maps(inner_norm, mlp)?))
    };
    let Some((seen, attention, mlp)) = parts() else { return Err(hidden) };
    change(hidden, kv, seen, |hidden, cached| {
        Dispatch::both_sublayers(hidden, cached, Arc::new(attention), Arc::new(mlp))
    })
}

/// Computes `hidden + attention(norm(hidden))`, and writes the keys and values.
pub(super) fn attention(
    input_norm: &RmsNorm,
    attention: &Attention,
    hidden: Tensor<3>,
    frame: &Frame,
    kv: &mut LayerKv,
) -> Result<Tensor<3>, Tensor<3>> {
    let parts = seen(&hidden, attention, frame).and_then(|seen| Some((seen, attention_maps(input_norm, attention)?)));
    let Some((seen, maps)) = parts else { return Err(hidden) };
    change(hidden, kv, seen, |hidden, cached| Dispatch::attention_sublayer(hidden, cached, Arc::new(maps)))
}

/// A layer whose keys and values are written, with its place in the cache.
pub(super) type Skipped<'a> = (&'a RmsNorm, &'a Attention, &'a mut LayerKv);

/// Writes the keys and values that some layers make from one residual stream, in few launches. Returns `false`, and writes
/// nothing, if there are no kernels for one of the layers.
pub(super) fn propagate(layers: &mut [Skipped<'_>], hidden: &Tensor<3>, frame: &Frame) -> bool {
    let maps = |(input_norm, attention, kv): &mut Skipped<'_>| {
        let Attention { k_proj, v_proj, k_norm, .. } = attention;
        kv.shared()?;
        let maps = weights([&k_proj.weight, &v_proj.weight])?;
        kv_maps(input_norm, attention, maps, [k_norm.as_ref()], [k_proj, v_proj])
    };
    let Some((_, attention, _)) = layers.first() else { return true };
    // Where a token's keys and values go is the same for all layers, whatever they see.
    let Some(SeenSlots { places, .. }) = seen(hidden, attention, frame) else { return false };
    let Some(maps) = layers.iter_mut().map(maps).collect::<Option<Vec<_>>>() else { return false };
    for (layers, maps) in layers.chunks_mut(Pools::<Dispatch>::MOST).zip(maps.chunks(Pools::<Dispatch>::MOST)) {
        // The operation gets the only handles of the keys and values, so that it can change them where they are.
        let mut pools: Vec<&mut Tensor<3>> = layers.iter_mut().filter_map(|(.., kv)| kv.shared()).collect();
        let taken = pools.iter_mut().map(|kv| std::mem::replace(*kv, hidden.clone()).into_dispatch());
        let (taken, maps) = (Pools::new(taken), Arc::new(maps.to_vec()));
        let (hidden, places) = (hidden.clone().into_dispatch(), places.clone().into_dispatch());
        let written = Dispatch::write_keys_values(hidden, places, taken, maps).into_pools();
        for (kv, written) in pools.into_iter().zip(written) {
            *kv = Tensor::from_dispatch(written);
        }
    }
    true
}

/// Computes `hidden + mlp(norm(hidden))`.
pub(super) fn feed_forward(input_norm: &RmsNorm, mlp: &Mlp, hidden: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let maps = takes(&hidden, mlp.gate_proj.dims()[0]).then(|| mlp_maps(input_norm, mlp));
    let Some(maps) = maps.flatten() else { return Err(hidden) };
    Ok(Tensor::from_dispatch(Dispatch::mlp_sublayer(hidden.into_dispatch(), Arc::new(maps))))
}

/// Applies a norm and a head.
pub(super) fn head(norm: &RmsNorm, head: &Matrix, hidden: &Tensor<3>) -> Option<Tensor<3>> {
    normed_linear(hidden, (&norm.weight, narrow(norm.eps)), head)
}

/// Replaces the cache's keys and values by those that an operation returns, and returns the residual stream that it returns.
fn change(
    hidden: Tensor<3>,
    kv: &mut LayerKv,
    seen: &SeenSlots,
    operation: impl FnOnce(DispatchTensor, Cached<Dispatch>) -> (DispatchTensor, DispatchTensor),
) -> Result<Tensor<3>, Tensor<3>> {
    let Some(shared) = kv.shared() else { return Err(hidden) };
    // The operation gets the only handle of the keys and values, so that it can change them where they are.
    let kv = std::mem::replace(shared, hidden.clone());
    let (hidden, kv) = operation(hidden.into_dispatch(), cached(seen, kv));
    *shared = Tensor::from_dispatch(kv);
    Ok(Tensor::from_dispatch(hidden))
}

fn cached(seen: &SeenSlots, kv: Tensor<3>) -> Cached<Dispatch> {
    let bias = seen.bias.clone().map_or(Optional::Absent, |bias| Optional::Present(bias.into_dispatch()));
    Cached { places: seen.places.clone().into_dispatch(), bias, kv: kv.into_dispatch() }
}

/// Returns `true` if no map has an adapter, for which there are no kernels.
fn plain<const N: usize>(maps: [&Linear; N]) -> bool {
    maps.iter().all(|map| map.adapter.is_none())
}

/// Returns the slots that the tokens of a pass see, if the kernels take the pass.
fn seen<'a>(hidden: &Tensor<3>, attention: &Attention, frame: &'a Frame) -> Option<&'a SeenSlots> {
    let [rows, tokens, _] = hidden.dims();
    let fits = rows == frame.places().len()
        && tokens == frame.tokens()
        && takes(hidden, attention.q_proj.dims()[0])
        && attends(rows * tokens, frame.longest(), attention.head_dim);
    if fits { frame.seen_slots(attention.window) } else { None }
}

fn attention_maps(input_norm: &RmsNorm, attention: &Attention) -> Option<AttentionMaps> {
    let Attention { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, .. } = attention;
    let [q, k, v, o] = weights([&q_proj.weight, &k_proj.weight, &v_proj.weight, &o_proj.weight])?;
    let norms = [q_norm.as_ref(), k_norm.as_ref()];
    let kv = kv_maps(input_norm, attention, [k, v], norms, [q_proj, k_proj, v_proj])?;
    if !plain([o_proj]) {
        return None;
    }
    let o_bias = match &o_proj.bias {
        Some(bias) => Some(vector(bias)?),
        None => None,
    };
    Some(AttentionMaps { kv, q, o, o_bias })
}

fn kv_maps<const N: usize, const M: usize>(
    input_norm: &RmsNorm,
    attention: &Attention,
    [k, v]: [CubeTensor; 2],
    norms: [Option<&RmsNorm>; N],
    projections: [&Linear; M],
) -> Option<KvMaps> {
    let normed = norms[0].is_some();
    let biased = projections[0].bias.is_some();
    let alike = plain(projections)
        && norms.iter().all(|norm| norm.is_some() == normed)
        && projections.iter().all(|map| map.bias.is_some() == biased)
        && norms.iter().flatten().all(|norm| norm.eps.to_bits() == input_norm.eps.to_bits());
    if !alike {
        return None;
    }
    let norms = norms.into_iter().flatten().map(|norm| &norm.weight);
    let extras = norms.chain(projections.into_iter().filter_map(|map| map.bias.as_ref()));
    Some(KvMaps {
        gamma: vector(&input_norm.weight)?,
        k,
        v,
        extras: extras.map(vector).collect::<Option<_>>()?,
        form: Form { eps: narrow(input_norm.eps), normed, biased, rotated: attention.rotated },
    })
}

fn mlp_maps(input_norm: &RmsNorm, mlp: &Mlp) -> Option<MlpMaps> {
    let Mlp { gate_proj, up_proj, down_proj } = mlp;
    let maps = [gate_proj, up_proj, down_proj];
    if !plain(maps) || maps.iter().any(|map| map.bias.is_some()) {
        return None;
    }
    let [gate, up, down] = weights([&gate_proj.weight, &up_proj.weight, &down_proj.weight])?;
    Some(MlpMaps { gamma: vector(&input_norm.weight)?, gate, up, down, eps: narrow(input_norm.eps) })
}

#[expect(clippy::cast_possible_truncation, reason = "the kernels compute in f32")]
fn narrow(eps: f64) -> f32 {
    eps as f32
}
