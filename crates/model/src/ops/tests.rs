//! Tests that compare kernels with definitions, mostly for shapes that are not multiples of the vector width.

use super::flex::{self, Queries, RowKv, Seen};
use super::{CachedRow, attention, linear, rms_norm, rope, swiglu};
use crate::device::KvDtype;
use crate::format::{GgmlType, factors};
use crate::matrix::{Blocks, Matrix};
use burn::module::Param;
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use proptest::prelude::*;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::borrow::Cow;
use std::num::NonZero;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Asserts that values differ by at most `relative` times the largest one. 1e-5 suffices for sums of up to 200 products
/// that are added in another order.
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, relative: f32) {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= relative * largest, "{a} and {b}, of {largest}");
    }
}

/// The definition's product with one weight.
fn of_one(x: &Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [y] = linear::definition(x, [weight]);
    y
}

fn matrix(weight: Tensor<2>) -> Matrix {
    Param::from_tensor(weight).into()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec_as::<f32>().unwrap()
}

/// Random keys and values of one row.
fn random_row(half: bool, [heads, head_dim]: [usize; 2], capacity: usize) -> RowKv {
    let dtype = if half { KvDtype::F16 } else { KvDtype::F32 };
    let mut row = RowKv::new(dtype, [heads, head_dim], capacity);
    for head in 0..heads {
        row.write(head, 0, &values(random([capacity, head_dim])), &values(random([capacity, head_dim])));
    }
    row
}

fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
    values(x).into_iter().map(f32::to_bits).collect()
}

/// The quantised types.
fn block_types() -> impl Strategy<Value = GgmlType> {
    let types: Vec<GgmlType> = (0..30).filter_map(GgmlType::from_id).filter(|ty| ty.is_quantised()).collect();
    prop::sample::select(types)
}

/// A matrix of blocks with random bytes, whose scales are between 2^-8 and 2^-4.
fn random_blocks(ty: GgmlType, shape: [usize; 2], seed: u64) -> Blocks {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; shape[0] * shape[1] / ty.block_size() * ty.block_bytes()];
    random.fill_bytes(&mut bytes);
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for at in factors(ty) {
            block[at + 1] = (random.random_range(7..11) << 2) | block[at + 1] & 0x83;
        }
    }
    Blocks::new(ty, shape, bytes, &Device::flex()).unwrap()
}

/// Rounds 32 values at a time to multiples of the largest of them over 127.
fn rounded(x: &Tensor<3>) -> Tensor<3> {
    let mut values = x.to_data().try_into_vec_as::<f32>().unwrap();
    for block in values.chunks_mut(32) {
        let largest = block.iter().fold(0f32, |m, x| m.max(x.abs()));
        for x in block {
            *x = (*x * (127.0 / largest)).round_ties_even() * (largest / 127.0);
        }
    }
    Tensor::from_data(TensorData::new(values, x.dims()), &x.device())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Widening is exact, so that results for `f16` differ from those for the same numbers in `f32` by the order of
    /// summation alone.
    #[test]
    fn linear_agrees(
        rows in 1usize..4, tokens in 1usize..20, width in 1usize..200, outputs in [1usize..70, 1usize..70], halves: bool,
    ) {
        let x = random([rows, tokens, width]);
        let weights = outputs.map(|d_out| random([d_out, width]).cast(if halves { DType::F16 } else { DType::F32 }));
        let [first, second] = weights.clone().map(matrix);
        let found = flex::linear(&x, [&first, &second]).unwrap();
        for (found, weight) in found.into_iter().zip(weights) {
            assert_close(found, of_one(&x, weight.cast(DType::F32)), 1e-5);
        }
    }

    /// The weights make several shares, and the inputs several blocks.
    #[test]
    fn large_linears_agree(tokens in 8usize..150, width in 400usize..700, d_out in 200usize..400, halves: bool) {
        let x = random([1, tokens, width]);
        let weight = random([d_out, width]).cast(if halves { DType::F16 } else { DType::F32 });
        let [found] = flex::linear(&x, [&matrix(weight.clone())]).unwrap();
        // The sums have up to 700 products.
        assert_close(found, of_one(&x, weight.cast(DType::F32)), 2e-5);
    }

    /// The definition gets inputs that are rounded as the kernel rounds them.
    #[test]
    fn linear_agrees_for_blocks(
        ty in block_types(), tokens in 1usize..12, blocks in 1usize..4, d_out in 1usize..40, seed: u64,
    ) {
        let width = blocks * ty.block_size().max(64);
        let x = random([1, tokens, width]);
        let blocks = random_blocks(ty, [d_out, width], seed);
        let [found] = flex::linear(&x, [&Matrix::Quantised(blocks.clone())]).unwrap();
        assert_close(found, of_one(&rounded(&x), blocks.tensor()), 1e-5);
    }

    /// A product has the same bits for a token alone and among others, on any number of threads.
    #[test]
    fn products_do_not_depend_on_their_company(
        tokens in 2usize..90, blocks in 1usize..3, d_out in 1usize..300, ty in block_types(), seed: u64,
        threads in 1usize..5, narrower in 0usize..9,
    ) {
        dynlayer_cpu::set_threads(NonZero::new(threads).unwrap());
        let width = blocks * 256;
        let dense = random([d_out, width - narrower]);
        let matrices = [
            matrix(dense.clone()), matrix(dense.cast(DType::F16)), Matrix::Quantised(random_blocks(ty, [d_out, width], seed)),
        ];
        for matrix in &matrices {
            let x = random([1, tokens, matrix.dims()[1]]);
            let [together] = flex::linear(&x, [matrix]).unwrap();
            for token in [0, tokens / 2, tokens - 1] {
                let [alone] = flex::linear(&x.clone().narrow(1, token, 1), [matrix]).unwrap();
                assert_eq!(bits(alone), bits(together.clone().narrow(1, token, 1)), "token {token}");
            }
        }
    }

    /// The attention of a token has the same bits alone and in a prompt.
    #[test]
    fn attention_does_not_depend_on_its_company(
        before in 0usize..40, tokens in 2usize..40, kv_heads in 1usize..4, group in 1usize..5, head_dim in 1usize..80,
        threads in 1usize..5, half: bool,
    ) {
        dynlayer_cpu::set_threads(NonZero::new(threads).unwrap());
        let width = kv_heads * group * head_dim;
        let (q, kv) = (values(random([tokens, width])), random_row(half, [kv_heads, head_dim], before + tokens));
        let mixed = |q: &[f32], slots: usize| {
            let mut out = vec![0.0; q.len()];
            let queries = Queries { values: q, stride: width, heads: kv_heads * group, kv_heads, head_dim };
            flex::attention(&queries, &[Seen { kv: &kv, first: 0, slots, hidden: None }], &mut out);
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let together = mixed(&q, before + tokens);
        for token in [0, tokens / 2, tokens - 1] {
            let of = token * width..(token + 1) * width;
            assert_eq!(mixed(&q[of.clone()], before + token + 1), together[of], "token {token}");
        }
    }

    #[test]
    fn rms_norm_agrees(rows in 1usize..4, tokens in 1usize..5, width in 1usize..100) {
        let (x, gamma) = (random([rows, tokens, width]), random([width]));
        assert_close(flex::rms_norm(&x, &gamma, 1e-5).unwrap(), rms_norm::definition(x, gamma, 1e-5), 1e-5);
    }

    #[test]
    fn rotation_agrees(rows in 1usize..3, heads in 1usize..5, tokens in 1usize..5, half in 1usize..20) {
        let x = random([rows, tokens, heads, 2 * half]).swap_dims(1, 2);
        let (cos, sin) = (random([rows, 1, tokens, half]), random([rows, 1, tokens, half]));
        let expected = rope::definition(x.clone(), &cos, &sin);
        assert_close(flex::rotate(&x, &cos, &sin).unwrap(), expected, 1e-6);
    }

    #[test]
    fn swiglu_agrees(tokens in 1usize..5, width in 1usize..100) {
        let (gate, up) = (random([1, tokens, width]), random([1, tokens, width]));
        assert_close(flex::swiglu(&gate, &up).unwrap(), swiglu::definition(gate, up), 1e-5);
    }

    #[test]
    fn attention_agrees(
        before in prop::collection::vec(0usize..30, 1..4), kv_heads in 1usize..4, group in 1usize..6, tokens in 1usize..6,
        head_dim in 1usize..40, out_of_view in 0usize..5, unused in 0usize..5,
        hidden in prop::collection::vec(any::<bool>(), 600), masked: bool, half: bool,
    ) {
        let mask = |before: usize| -> Vec<u8> {
            let slots = before + tokens;
            let hides = |i: usize| {
                let (token, slot) = (i / slots, i % slots);
                slot > before + token || (slot != before + token && hidden[(i + before) % hidden.len()])
            };
            (0..tokens * slots).map(|i| u8::from(hides(i))).collect()
        };
        // Of several rows, only some have a mask.
        let masks: Vec<Option<Vec<u8>>> =
            before.iter().enumerate().map(|(row, n)| (masked && row != 1).then(|| mask(*n))).collect();
        let (n, width) = (before.len() * tokens, kv_heads * group * head_dim);
        // Keys and values stand behind the queries of a token.
        let stride = width + unused;
        let queries = values(random([n, stride]));
        let caches: Vec<RowKv> = before
            .iter()
            .map(|before| random_row(half, [kv_heads, head_dim], out_of_view + before + tokens + unused))
            .collect();
        let seen: Vec<Seen<'_>> = (caches.iter().zip(&before).zip(&masks))
            .map(|((kv, before), mask)| {
                let hidden = mask.as_deref().map(Cow::Borrowed);
                Seen { kv, first: out_of_view, slots: before + tokens, hidden }
            })
            .collect();
        let mut found = vec![0.0; n * width];
        let heads = kv_heads * group;
        flex::attention(&Queries { values: &queries, stride, heads, kv_heads, head_dim }, &seen, &mut found);

        let rows: Vec<CachedRow<'_>> = seen
            .into_iter()
            .map(|Seen { kv, first, slots, hidden }| {
                let (k, v) = kv.tensors(first, slots);
                CachedRow { k, v, hidden }
            })
            .collect();
        let q = Tensor::<3>::from_data(TensorData::new(queries, [before.len(), tokens, stride]), &Device::flex());
        let q = q.narrow(2, 0, width).reshape([before.len(), tokens, heads, head_dim]).swap_dims(1, 2);
        let found = Tensor::from_data(TensorData::new(found, [before.len(), tokens, width]), &Device::flex());
        assert_close(found, attention::cached_attention(&q, &rows), 1e-5);
    }
}
