//! The sublayers on `flex`, without tensors between their steps.
//!
//! A thread keeps the buffers for the results of all steps, and the residual stream is changed where it is. Arguments for
//! which there are no kernels are given back: the tensor operations of [`sublayers`](super::sublayers) then compute the same.
#![expect(clippy::result_large_err, reason = "a tensor that is given back is not an error, and a box would allocate")]

use super::sublayers::{Attention, Linear, Mlp, RmsNorm};
use super::{Frame, LayerKv, Rotation};
use crate::ops::flex::{self, Map, Queries, RowKv, Seen, Thin};
use burn::backend::Flex;
use burn::tensor::Tensor;
use std::cell::RefCell;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// A thread's buffers, with a row for each token of a pass.
#[derive(Default)]
struct Buffers {
    /// The input of a sublayer, normed.
    normed: Vec<f32>,
    /// Queries, keys and values, or the activations of the MLP.
    inner: Vec<f32>,
    /// The values that the attention has mixed.
    mixed: Vec<f32>,
    /// The update of the residual stream.
    update: Vec<f32>,
}

/// Computes `hidden + attention(norm(hidden))`, and writes the keys and values.
pub(super) fn attention(
    input_norm: &RmsNorm,
    attention: &Attention,
    hidden: Tensor<3>,
    frame: &Frame,
    kv: &mut LayerKv,
) -> Result<Tensor<3>, Tensor<3>> {
    let parts = || {
        let norm = norm(input_norm)?;
        let heads = Heads::new(attention, [&attention.q_proj, &attention.k_proj, &attention.v_proj], &norm)?;
        let output = map(&attention.o_proj, heads.queries()).filter(|output| output.outputs() == norm.gamma.len())?;
        Some((norm, heads, output))
    };
    let (Some((norm, heads, output)), Some(rows)) = (parts(), kv.rows()) else { return Err(hidden) };
    if !fits(&hidden, frame) {
        return Err(hidden);
    }
    change(hidden, &norm, |hidden, normed, Buffers { inner, mixed, update, .. }| {
        let tokens = heads.project(normed, &frame.rotation, inner);
        heads.write(frame, inner, rows);
        let seen = frame.places().iter().map(|place| {
            let (first, hidden) = place.seen(attention.window);
            Seen { kv: &rows[place.row], first, slots: place.start + frame.tokens() - first, hidden }
        });
        let seen: Vec<Seen<'_>> = seen.collect();
        mixed.resize(tokens * heads.queries(), 0.0);
        flex::attention(&heads.of(inner), &seen, mixed);
        add(&output, mixed, update, hidden);
    })
}

/// Computes `hidden + mlp(norm(hidden))`.
pub(super) fn feed_forward(input_norm: &RmsNorm, mlp: &Mlp, hidden: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let parts = || {
        let Mlp { gate_proj, up_proj, down_proj } = mlp;
        let norm = norm(input_norm)?;
        let (width, inner) = (norm.gamma.len(), gate_proj.dims()[0]);
        let (gate, up) = (map(gate_proj, width)?, map(up_proj, width).filter(|up| up.outputs() == inner)?);
        Some((norm, [gate, up], map(down_proj, inner).filter(|down| down.outputs() == width)?))
    };
    let Some((norm, gate_up, down)) = parts() else { return Err(hidden) };
    change(hidden, &norm, |hidden, normed, Buffers { inner, update, .. }| {
        inner.resize(hidden.len() / norm.gamma.len() * gate_up[0].outputs(), 0.0);
        flex::gated(&gate_up, normed, inner);
        add(&down, inner, update, hidden);
    })
}

/// Writes the keys and values of `norm(hidden)`.
pub(super) fn propagate(
    input_norm: &RmsNorm,
    attention: &Attention,
    hidden: Tensor<3>,
    frame: &Frame,
    kv: &mut LayerKv,
) -> Result<(), Tensor<3>> {
    let parts = || {
        let norm = norm(input_norm)?;
        let heads = Heads::new(attention, [&attention.k_proj, &attention.v_proj], &norm)?;
        Some((norm, heads))
    };
    let (Some((norm, heads)), Some(rows)) = (parts(), kv.rows()) else { return Err(hidden) };
    if !fits(&hidden, frame) {
        return Err(hidden);
    }
    let ran = change(hidden, &norm, |_, normed, Buffers { inner, .. }| {
        heads.project(normed, &frame.rotation, inner);
        heads.write(frame, inner, rows);
    });
    ran.map(drop)
}

/// Returns `true` if the frame has a slot for each token.
fn fits(hidden: &Tensor<3>, frame: &Frame) -> bool {
    let [rows, tokens, _] = hidden.dims();
    rows == frame.places().len() && tokens == frame.tokens()
}

/// A norm with its scale.
struct Norm<'a> {
    gamma: &'a [f32],
    eps: f64,
}

fn norm(norm: &RmsNorm) -> Option<Norm<'_>> {
    Some(Norm { gamma: norm.weight.storage()?.as_slice()?, eps: norm.eps })
}

/// Returns the map, with its adapter, if it takes inputs of this width.
fn map(linear: &Linear, width: usize) -> Option<Map<'_>> {
    let bias = match &linear.bias {
        Some(bias) => Some(bias.storage()?.as_slice()?),
        None => None,
    };
    let map = Map::new(&linear.weight, bias).filter(|map| map.width() == width)?;
    let Some(adapter) = &linear.adapter else { return Some(map) };
    let [a, b] = [adapter.a.storage()?.as_slice()?, adapter.b.storage()?.as_slice()?];
    map.with(Thin { a, b, rank: adapter.rank(), scale: adapter.scale() })
}

/// The projections of an attention to heads: those of queries, if there are three, keys and values.
struct Heads<'a, const N: usize> {
    maps: [Map<'a>; N],
    q_norm: Option<Norm<'a>>,
    k_norm: Option<Norm<'a>>,
    head_dim: usize,
    rotated: bool,
}

impl<'a, const N: usize> Heads<'a, N> {
    fn new(attention: &'a Attention, projections: [&'a Linear; N], input: &Norm<'_>) -> Option<Self> {
        let mut maps = Vec::with_capacity(N);
        for projection in projections {
            maps.push(map(projection, input.gamma.len())?);
        }
        let maps: [Map<'a>; N] = maps.try_into().ok()?;
        let keys = maps[N - 1].outputs();
        if maps[N - 2].outputs() != keys || !keys.is_multiple_of(attention.head_dim) {
            return None;
        }
        let norm_of = |of: &'a Option<RmsNorm>| match of {
            Some(of) => norm(of).map(Some),
            None => Some(None),
        };
        let (q_norm, k_norm) = (norm_of(&attention.q_norm)?, norm_of(&attention.k_norm)?);
        Some(Self { maps, q_norm, k_norm, head_dim: attention.head_dim, rotated: attention.rotated })
    }

    /// The width of all projections together, in which queries, keys and values follow each other.
    fn width(&self) -> usize {
        self.maps.iter().map(Map::outputs).sum()
    }

    /// The width of the keys, and of the values.
    fn keys(&self) -> usize {
        self.maps[N - 1].outputs()
    }

    /// The width of the queries.
    fn queries(&self) -> usize {
        self.width() - 2 * self.keys()
    }

    /// Projects, norms and rotates. Returns the number of tokens.
    fn project(&self, x: &[f32], rotation: &Rotation, out: &mut Vec<f32>) -> usize {
        let (width, queries, tokens) = (self.width(), self.queries(), x.len() / self.maps[0].width());
        out.resize(tokens * width, 0.0);
        flex::apply(&self.maps, x, out);
        for (token, out) in out.chunks_exact_mut(width).enumerate() {
            let (cos, sin) = rotation.of(token);
            for (at, head) in out[..width - self.keys()].chunks_exact_mut(self.head_dim).enumerate() {
                let norm = if at * self.head_dim < queries { &self.q_norm } else { &self.k_norm };
                if let Some(norm) = norm {
                    flex::norm_in_place(head, norm.gamma, norm.eps);
                }
                if self.rotated {
                    flex::rotate_in_place(head, cos, sin);
                }
            }
        }
        tokens
    }

    /// Writes projected keys and values to the slots of a frame.
    ///
    /// # Panics
    /// If the cache has no such row or slot, or other heads.
    fn write(&self, frame: &Frame, projected: &[f32], rows: &mut [RowKv]) {
        let mut tokens = projected.chunks_exact(self.width());
        for place in frame.places() {
            rows[place.row].check([self.keys() / self.head_dim, self.head_dim]);
            for (token, projected) in tokens.by_ref().take(frame.tokens()).enumerate() {
                let (k, v) = projected[self.queries()..].split_at(self.keys());
                for (head, (k, v)) in k.chunks_exact(self.head_dim).zip(v.chunks_exact(self.head_dim)).enumerate() {
                    rows[place.row].write(head, place.start + token, k, v);
                }
            }
        }
    }

    /// The queries among projected values.
    fn of<'p>(&self, projected: &'p [f32]) -> Queries<'p> {
        let (heads, kv_heads) = (self.queries() / self.head_dim, self.keys() / self.head_dim);
        Queries { values: projected, stride: self.width(), heads, kv_heads, head_dim: self.head_dim }
    }
}

/// Changes the residual stream with `sublayer`, which gets it and what a norm makes of it, and may use the buffers.
fn change(
    hidden: Tensor<3>,
    norm: &Norm<'_>,
    sublayer: impl FnOnce(&mut [f32], &[f32], &mut Buffers),
) -> Result<Tensor<3>, Tensor<3>> {
    let [_, _, width] = hidden.dims();
    if norm.gamma.len() != width {
        return Err(hidden);
    }
    let mut storage = flex::take(hidden)?;
    BUFFERS.with_borrow_mut(|buffers| {
        let hidden = storage.storage_mut::<f32>();
        let mut normed = std::mem::take(&mut buffers.normed);
        normed.clear();
        normed.extend_from_slice(hidden);
        flex::norm_in_place(&mut normed, norm.gamma, norm.eps);
        sublayer(hidden, &normed, buffers);
        buffers.normed = normed;
    });
    Ok(Tensor::from_primitive::<Flex>(storage))
}

/// Adds the outputs of a map to the residual stream.
fn add(map: &Map<'_>, x: &[f32], update: &mut Vec<f32>, hidden: &mut [f32]) {
    update.resize(hidden.len(), 0.0);
    flex::apply(std::slice::from_ref(map), x, update);
    for (hidden, update) in hidden.iter_mut().zip(update.iter()) {
        *hidden += update;
    }
}
