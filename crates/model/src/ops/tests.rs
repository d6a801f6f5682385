//! Tests that compare kernels with definitions, mostly for shapes that are not multiples of the vector width.

use super::{CachedRow, attention, flex, linear, rms_norm, rope, swiglu};
use burn::tensor::{DType, Device, Distribution, Tensor};
use proptest::prelude::*;
use std::borrow::Cow;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Asserts that values differ by at most `relative` times the largest one. 1e-5 suffices for sums of up to 200 products
/// that are added in another order.
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, relative: f32) {
    assert_eq!(found.dims(), expected.dims());
    let values = |t: Tensor<D>| t.into_data().try_into_vec_as::<f32>().unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn linear_agrees(rows in 1usize..4, tokens in 1usize..8, width in 1usize..200, outputs in [1usize..70, 1usize..70]) {
        let x = random([rows, tokens, width]);
        let weights = outputs.map(|d_out| random([d_out, width]));
        let found = flex::linear(&x, &weights).unwrap();
        for (found, weight) in found.into_iter().zip(weights) {
            assert_close(found, of_one(&x, weight), 1e-5);
        }
    }

    /// The weights fill several blocks, and the numbers of tokens lie on both sides of the kernel's limit.
    #[test]
    fn large_linears_agree(tokens in prop_oneof![8usize..24, 62usize..67], width in 400usize..700, d_out in 200usize..400) {
        let x = random([1, tokens, width]);
        let weight = random([d_out, width]);
        let [found] = flex::linear(&x, std::array::from_ref(&weight)).unwrap();
        // The sums have up to 700 products.
        assert_close(found, of_one(&x, weight.clone()), 2e-5);
        let weight = weight.cast(DType::F16);
        let [found] = flex::linear(&x, std::array::from_ref(&weight)).unwrap();
        assert_close(found, of_one(&x, weight.cast(DType::F32)), 2e-5);
    }

    /// Weights in `f16` are compared with the same numbers in `f32`. Widening is exact, so the results differ only by
    /// the order of summation.
    #[test]
    fn linear_agrees_for_f16(tokens in 1usize..20, width in 1usize..200, d_out in 1usize..70) {
        let x = random([1, tokens, width]);
        let weight = random([d_out, width]).cast(DType::F16);
        let [found] = flex::linear(&x, std::array::from_ref(&weight)).unwrap();
        assert_close(found, of_one(&x, weight.cast(DType::F32)), 1e-5);
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
        assert_close(flex::rotate(&x, &cos, &sin).unwrap(), expected.clone(), 1e-6);
        assert_close(rope::rotate_whole(x, &rope::Whole::new(&cos, &sin)), expected, 1e-6);
    }

    #[test]
    fn swiglu_agrees(tokens in 1usize..5, width in 1usize..100) {
        let (gate, up) = (random([1, tokens, width]), random([1, tokens, width]));
        assert_close(flex::swiglu(&gate, &up).unwrap(), swiglu::definition(gate, up), 1e-5);
    }

    #[test]
    fn attention_agrees(
        before in prop::collection::vec(0usize..30, 1..4), kv_heads in 1usize..4, group in 1usize..4, tokens in 1usize..6,
        head_dim in 1usize..40, out_of_view in 0usize..5, unused in 0usize..5,
        hidden in prop::collection::vec(any::<bool>(), 600), masked: bool,
    ) {
        let q = random([before.len(), kv_heads * group, tokens, head_dim]);
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
        let rows = before.iter().zip(&masks).map(|(before, mask)| {
            let slots = before + tokens;
            let cache =
                || random([1, kv_heads, out_of_view + slots + unused, head_dim]).narrow(2, out_of_view, slots);
            CachedRow { k: cache(), v: cache(), hidden: mask.as_deref().map(Cow::Borrowed) }
        });
        let rows: Vec<CachedRow<'_>> = rows.collect();
        let found = flex::attention(&q, &rows).unwrap();
        assert_close(found, attention::cached_definition(&q, &rows), 1e-5);
    }
}
