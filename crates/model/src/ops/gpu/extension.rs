//! The operations as burn's backends see them. With the feature `fusion`, each is one operation of a queue, whatever it launches.
//!
//! An operation holds its weights. They are not its operands, since the queue keeps account of each operand.

use super::attend::Attend;
use super::heads::{Form, Heads, project, project_with_queries};
use super::largest::largest;
use super::product::Product;
use super::tensors::{Pool, Rows};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};
use burn::tensor::Shape;
#[cfg(feature = "fusion")]
use burn::{backend::fusion::custom::TensorSpec, tensor::DType};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use std::sync::Arc;

/// A tensor that may be absent.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Optional<B: Backend> {
    /// There is none.
    Absent,
    /// There is one.
    Present(FloatTensor<B>),
}

/// The tensors that an attention reads and writes beside the residual stream.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Cached<B: Backend> {
    /// The place of each token: the first slot of its row in the pool; the first and the last slot that it sees, counted from
    /// there, of which the last is its own; the cosines and the sines of its rotation. `[tokens * (3 + head_dim)]`.
    pub places: FloatTensor<B>,
    /// For each token and slot of its row 0, or a negative number where the token must not attend, `[tokens, slots]`.
    #[extension_type]
    pub bias: Optional<B>,
    /// The keys and then the values of the cache, `[2 * kv_heads, slots, head_dim]`.
    pub kv: FloatTensor<B>,
}

/// The keys and then the values of the caches of some layers, `[2 * kv_heads, slots, head_dim]` each.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Pools<B: Backend>(
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
    #[extension_type] Optional<B>,
);

impl<B: Backend> Pools<B> {
    /// The layers that it takes at most.
    pub const MOST: usize = 8;

    /// Takes the pools of at most [`MOST`](Self::MOST) layers.
    pub fn new(pools: impl IntoIterator<Item = FloatTensor<B>>) -> Self {
        let mut pools = pools.into_iter();
        let mut next = || pools.next().map_or(Optional::Absent, Optional::Present);
        Self(next(), next(), next(), next(), next(), next(), next(), next())
    }

    /// Returns the pools, in the order in which they were given.
    pub fn into_pools(self) -> impl Iterator<Item = FloatTensor<B>> {
        let Self(a, b, c, d, e, f, g, h) = self;
        [a, b, c, d, e, f, g, h].into_iter().filter_map(Optional::present)
    }
}

/// The weights that keys and values are made with.
#[derive(Clone, Debug)]
pub struct KvMaps {
    /// The scale of the norm, `[d_model]`.
    pub gamma: CubeTensor,
    /// The projection of keys, `[kv_heads * head_dim, d_model]`.
    pub k: CubeTensor,
    /// The projection of values, as that of keys.
    pub v: CubeTensor,
    /// The scales of the norms of query heads and of key heads, `[head_dim]` each, if [`Form::normed`], and then the biases
    /// of queries, keys and values, if [`Form::biased`]; without queries, theirs are absent.
    pub extras: Vec<CubeTensor>,
    /// The steps beside products.
    pub form: Form,
}

/// The weights of an attention.
#[derive(Clone, Debug)]
pub struct AttentionMaps {
    /// The weights of keys and values.
    pub kv: KvMaps,
    /// The projection of queries, `[heads * head_dim, d_model]`.
    pub q: CubeTensor,
    /// The output projection, `[d_model, heads * head_dim]`.
    pub o: CubeTensor,
    /// The bias of the output.
    pub o_bias: Option<CubeTensor>,
}

/// The weights of an MLP.
#[derive(Clone, Debug)]
pub struct MlpMaps {
    /// The scale of the norm, `[d_model]`.
    pub gamma: CubeTensor,
    /// The gate projection, `[d_ff, d_model]`.
    pub gate: CubeTensor,
    /// The up projection, `[d_ff, d_model]`.
    pub up: CubeTensor,
    /// The down projection, `[d_model, d_ff]`.
    pub down: CubeTensor,
    /// The number that is added to mean squares.
    pub eps: f32,
}

/// A hidden state, and keys and values.
type WithKv<B> = (FloatTensor<B>, FloatTensor<B>);

/// Layers and their sublayers for a few tokens, in a few launches each. `hidden` is the residual stream,
/// `[rows, tokens, d_model]`.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
#[diagnostic::on_unimplemented(
    message = "burn's feature `fusion` is on, and dynlayer's is not",
    note = "turn on dynlayer's feature `fusion` too, or turn off burn's, which a dependency on burn with its default features turns on"
)]
pub trait Sublayers: Backend {
    /// Computes `hidden + attention(norm(hidden))`, and writes the keys and values.
    #[fusion(meta = |hidden, cached, _maps| (hidden.clone(), cached.kv.clone()))]
    fn attention_sublayer(
        hidden: FloatTensor<Self>,
        #[extension_type] cached: Cached<Self>,
        maps: Arc<AttentionMaps>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Computes an attention and then an MLP.
    #[fusion(meta = |hidden, cached, _attention, _mlp| (hidden.clone(), cached.kv.clone()))]
    fn both_sublayers(
        hidden: FloatTensor<Self>,
        #[extension_type] cached: Cached<Self>,
        attention: Arc<AttentionMaps>,
        mlp: Arc<MlpMaps>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Writes the keys and values of `norm(hidden)` for some layers, each with its own weights and pool. `places` is that of
    /// [`Cached`].
    #[fusion(meta = |_hidden, _places, pools, _maps| pools.clone())]
    fn write_keys_values(
        hidden: FloatTensor<Self>,
        places: FloatTensor<Self>,
        #[extension_type] pools: Pools<Self>,
        maps: Arc<Vec<KvMaps>>,
    ) -> Pools<Self>;

    /// Computes `hidden + mlp(norm(hidden))`.
    #[fusion(meta = |hidden, _maps| hidden.clone())]
    fn mlp_sublayer(hidden: FloatTensor<Self>, maps: Arc<MlpMaps>) -> FloatTensor<Self>;

    /// Computes `x Wᵀ`, `[rows, tokens, width]` by `[outputs, width]`, in `f32`; of `norm(x)` if there is a norm: its scale,
    /// `[width]`, and the number that is added to mean squares.
    #[fusion(meta = |x, _norm, weight| product_spec(x, weight))]
    fn few_products(x: FloatTensor<Self>, norm: Option<(CubeTensor, f32)>, weight: CubeTensor) -> FloatTensor<Self>;

    /// Finds the index of the largest number of each row: `[rows, width]` to `[rows]`, in `f32`.
    #[fusion(meta = |x| TensorSpec::new(Shape::new([x.shape[0]]), DType::F32))]
    fn largest(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn product_spec(x: &TensorSpec, weight: &CubeTensor) -> TensorSpec {
    TensorSpec::new(Shape::new([x.shape[0], x.shape[1], weight.meta.shape()[0]]), DType::F32)
}

impl Sublayers for CubeBackend {
    fn attention_sublayer(hidden: CubeTensor, cached: Cached<Self>, maps: Arc<AttentionMaps>) -> WithKv<Self> {
        let (shape, places) = (hidden.meta.shape().clone(), cached.places);
        let x = Rows::new(hidden);
        let heads = heads(&maps.kv, cached.kv);
        let kv = heads.kv.clone();
        let q = project_with_queries(&x, &places, heads, Rows::new(maps.q.clone()));
        let mixed = Attend { q, kv: kv.clone(), places, bias: cached.bias.present().map(Rows::new) }.launch();
        let product = Product {
            x: Rows::new(mixed),
            norm: None,
            weight: Rows::new(maps.o.clone()),
            gated: None,
            bias: maps.o_bias.clone(),
            residual: Some(x),
        };
        (shaped(product.launch(), shape), kv.tensor)
    }

    fn both_sublayers(
        hidden: CubeTensor,
        cached: Cached<Self>,
        attention: Arc<AttentionMaps>,
        mlp: Arc<MlpMaps>,
    ) -> WithKv<Self> {
        let (hidden, kv) = Self::attention_sublayer(hidden, cached, attention);
        (Self::mlp_sublayer(hidden, mlp), kv)
    }

    fn write_keys_values(
        hidden: CubeTensor,
        places: CubeTensor,
        pools: Pools<Self>,
        maps: Arc<Vec<KvMaps>>,
    ) -> Pools<Self> {
        let layers: Vec<Heads> = maps.iter().zip(pools.into_pools()).map(|(maps, kv)| heads(maps, kv)).collect();
        project(&Rows::new(hidden), &places, &layers);
        Pools::new(layers.into_iter().map(|layer| layer.kv.tensor))
    }

    fn mlp_sublayer(hidden: CubeTensor, maps: Arc<MlpMaps>) -> CubeTensor {
        let (shape, x) = (hidden.meta.shape().clone(), Rows::new(hidden));
        let inner = Product {
            x: x.clone(),
            norm: Some((maps.gamma.clone(), maps.eps)),
            weight: Rows::new(maps.gate.clone()),
            gated: Some(Rows::new(maps.up.clone())),
            bias: None,
            residual: None,
        };
        let product = Product {
            x: Rows::new(inner.launch()),
            norm: None,
            weight: Rows::new(maps.down.clone()),
            gated: None,
            bias: None,
            residual: Some(x),
        };
        shaped(product.launch(), shape)
    }

    fn few_products(x: CubeTensor, norm: Option<(CubeTensor, f32)>, weight: CubeTensor) -> CubeTensor {
        let [rows, tokens] = [x.meta.shape()[0], x.meta.shape()[1]];
        let weight = Rows::new(weight);
        let shape = Shape::new([rows, tokens, weight.rows()]);
        let product = Product { x: Rows::new(x), norm, weight, gated: None, bias: None, residual: None };
        shaped(product.launch(), shape)
    }

    fn largest(x: CubeTensor) -> CubeTensor {
        largest(into_contiguous(x))
    }
}

/// Returns what the projections of a layer take.
fn heads(maps: &KvMaps, kv: CubeTensor) -> Heads {
    let KvMaps { gamma, k, v, extras, form } = maps;
    Heads {
        gamma: gamma.clone(),
        maps: [k, v].map(|map| Rows::new(map.clone())),
        // One tensor, since a kernel can read few.
        extras: (!extras.is_empty()).then(|| CubeBackend::float_cat(extras.clone(), 0)),
        kv: Pool::new(kv),
        form: *form,
    }
}

impl<B: Backend> Optional<B> {
    fn present(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

/// Gives a contiguous tensor another shape of as many numbers.
fn shaped(tensor: CubeTensor, shape: Shape) -> CubeTensor {
    CubeTensor::new_contiguous(tensor.client, tensor.device, shape, tensor.handle, tensor.dtype)
}
