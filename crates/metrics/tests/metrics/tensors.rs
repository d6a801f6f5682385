//! Distributions and hidden states against numpy in double precision, and their properties.

use burn::tensor::{Device, Tensor, TensorData};
use dynlayer_metrics::distributions::LogProbs;
use dynlayer_metrics::hidden::{BlockInfluence, cosine_similarity, relative_error, similarity_matrix};
use dynlayer_metrics::{Grid, TensorError};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    p: Vec<Vec<f32>>,
    q: Vec<Vec<f32>>,
    targets: Vec<u32>,
    nll: Vec<f64>,
    entropy: Vec<f64>,
    kl: Vec<f64>,
    jensen_shannon: Vec<f64>,
    top1: Vec<bool>,
    top5: Vec<f64>,
    states: Vec<Vec<Vec<f32>>>,
    reference: Vec<Vec<Vec<f32>>>,
    cosine: Vec<Vec<f64>>,
    relative_error: Vec<Vec<f64>>,
    matrix: Vec<Vec<f64>>,
    block_influence: Vec<f64>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../fixtures/tensors.json")).unwrap()
}

fn matrix(rows: &[Vec<f32>]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), &Device::flex())
}

fn log_probs(rows: &[Vec<f32>]) -> LogProbs {
    LogProbs::from_logits(matrix(rows)).unwrap()
}

fn states(layers: &[Vec<Vec<f32>>]) -> Tensor<3> {
    let shape = [layers.len(), layers[0].len(), layers[0][0].len()];
    Tensor::from_data(TensorData::new(layers.concat().concat(), shape), &Device::flex())
}

/// Compares with a relative tolerance, or an absolute one where the value is below 1.
#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{found}, expected {expected}");
    }
}

#[track_caller]
fn assert_grid(found: &Grid, expected: &[Vec<f64>], tolerance: f64) {
    assert_near(&found.rows().concat(), &expected.concat(), tolerance);
    assert_eq!(found.rows().len(), expected.len());
}

#[test]
fn distributions_equal_numpy() {
    let expected = expected();
    let (p, q) = (log_probs(&expected.p), log_probs(&expected.q));
    // Logits of 300 have 2e-5 between neighbours in f32, and their differences are exact.
    assert_near(&p.nll(&expected.targets).unwrap(), &expected.nll, 2e-6);
    assert_near(&p.entropy().unwrap(), &expected.entropy, 2e-6);
    assert_near(&p.kl_divergence(&q).unwrap(), &expected.kl, 5e-6);
    assert_near(&p.jensen_shannon_divergence(&q).unwrap(), &expected.jensen_shannon, 2e-6);
    assert_eq!(p.top1_agreement(&q).unwrap(), expected.top1);
    assert_near(&p.top_k_overlap(&q, 5).unwrap(), &expected.top5, 1e-12);
}

#[test]
fn hidden_states_equal_numpy() {
    let expected = expected();
    let (x, r) = (states(&expected.states), states(&expected.reference));
    assert_grid(&cosine_similarity(&x, &r).unwrap(), &expected.cosine, 1e-6);
    assert_grid(&relative_error(&x, &r).unwrap(), &expected.relative_error, 2e-6);
    assert_grid(&similarity_matrix(&x).unwrap(), &expected.matrix, 1e-6);
    // In two batches, as over all at once.
    let mut influence = BlockInfluence::default();
    influence.add(&x.clone().narrow(1, 0, 2)).unwrap();
    influence.add(&x.narrow(1, 2, 4)).unwrap();
    assert_eq!(influence.tokens(), 6);
    assert_near(&influence.values().unwrap(), &expected.block_influence, 1e-6);
}

#[test]
fn tokens_that_cannot_come_add_nothing() {
    let never = f32::NEG_INFINITY;
    let (p, q) = (log_probs(&[vec![0.0, 0.0, never]]), log_probs(&[vec![0.0, 0.0, 0.0]]));
    assert_near(&p.kl_divergence(&q).unwrap(), &[1.5_f64.ln()], 1e-6);
    assert_near(&p.entropy().unwrap(), &[2.0_f64.ln()], 1e-6);
    let apart = log_probs(&[vec![never, never, 0.0]]);
    assert_near(&p.jensen_shannon_divergence(&apart).unwrap(), &[2.0_f64.ln()], 1e-6);
    // The other way round there is no number.
    assert!(matches!(q.kl_divergence(&p), Err(TensorError::NotFinite { row: 0, .. })));
    assert!(matches!(p.nll(&[2]), Err(TensorError::NotFinite { row: 0, .. })));
}

#[test]
fn the_smallest_probability_has_a_jensen_shannon_divergence() {
    // The second token of `p` has the smallest probability above 0 that `f32` has, and is impossible in `q`.
    let (p, q) = (log_probs(&[vec![0.0, -103.5]]), log_probs(&[vec![0.0, f32::NEG_INFINITY]]));
    assert_near(&p.jensen_shannon_divergence(&q).unwrap(), &[0.0], 1e-12);
    assert_near(&q.jensen_shannon_divergence(&p).unwrap(), &[0.0], 1e-12);
}

#[test]
fn distributions_that_are_none_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        for at in 0..40 {
            let mut rows = vec![vec![0.5; 40]; 3];
            rows[1][at] = bad;
            let refused = LogProbs::from_logits(matrix(&rows));
            assert!(matches!(refused, Err(TensorError::NotFinite { row: 1, .. })), "{bad} at {at}: {refused:?}");
        }
    }
    let nothing = LogProbs::from_logits(matrix(&[vec![f32::NEG_INFINITY; 40]]));
    assert!(matches!(nothing, Err(TensorError::NotFinite { .. })));
    for shape in [[0, 5], [5, 0]] {
        let empty = LogProbs::from_logits(Tensor::zeros(shape, &Device::flex()));
        assert!(matches!(empty, Err(TensorError::Empty { .. })));
    }
    let p = log_probs(&vec![vec![0.0; 4]; 2]);
    let other = log_probs(&vec![vec![0.0; 4]; 3]);
    assert!(matches!(p.kl_divergence(&other), Err(TensorError::Shapes { .. })));
    assert!(matches!(p.top1_agreement(&other), Err(TensorError::Shapes { .. })));
    assert!(matches!(p.nll(&[0]), Err(TensorError::Shapes { .. })));
    assert!(matches!(p.nll(&[0, 4]), Err(TensorError::Target { row: 1, target: 4, vocab_size: 4 })));
    for k in [0, 5] {
        assert!(matches!(p.top_k_overlap(&p, k), Err(TensorError::TopK { .. })));
    }
}

#[test]
fn states_without_direction_are_refused() {
    let good = vec![vec![vec![1.0, 2.0], vec![0.5, 0.0]]; 3];
    let with = |value: [f32; 2]| {
        let mut bad = good.clone();
        bad[1][1] = value.to_vec();
        states(&bad)
    };
    let good = states(&good);
    let zero = with([0.0, 0.0]);
    assert!(matches!(cosine_similarity(&zero, &good), Err(TensorError::ZeroVector { what: "state", row: 3 })));
    assert!(matches!(cosine_similarity(&good, &zero), Err(TensorError::ZeroVector { row: 3, .. })));
    assert!(matches!(relative_error(&good, &zero), Err(TensorError::ZeroVector { row: 3, .. })));
    assert_eq!(relative_error(&zero, &good).unwrap().get(1, 1), Some(1.0));
    assert!(matches!(similarity_matrix(&zero), Err(TensorError::ZeroVector { .. })));
    for bad in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0], [f32::NAN, f32::NAN]].map(with) {
        assert!(matches!(cosine_similarity(&bad, &good), Err(TensorError::NotFinite { row: 3, .. })));
        assert!(matches!(cosine_similarity(&good, &bad), Err(TensorError::NotFinite { row: 3, .. })));
        assert!(matches!(relative_error(&bad, &good), Err(TensorError::NotFinite { row: 3, .. })));
        assert!(matches!(relative_error(&good, &bad), Err(TensorError::NotFinite { row: 3, .. })));
        assert!(similarity_matrix(&bad).is_err());
        let mut influence = BlockInfluence::default();
        assert!(influence.add(&bad).is_err());
        assert_eq!(influence.values(), None);
    }
    let device = Device::flex();
    for shape in [[0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        let empty = Tensor::zeros(shape, &device);
        assert!(matches!(cosine_similarity(&empty, &empty), Err(TensorError::Empty { .. })));
        assert!(matches!(similarity_matrix(&empty), Err(TensorError::Empty { .. })));
    }
    let mut influence = BlockInfluence::default();
    assert!(matches!(influence.add(&good.clone().narrow(0, 0, 1)), Err(TensorError::Empty { .. })));
    influence.add(&good).unwrap();
    assert!(matches!(influence.add(&good.narrow(0, 0, 2)), Err(TensorError::Shapes { .. })));
}

/// Vectors of the largest and of the smallest numbers have a direction.
#[test]
fn no_square_overflows() {
    let large = states(&[vec![vec![3e38, 0.0, 3e38], vec![1e-38, 2e-38, 0.0]]]);
    let same = states(&[vec![vec![1.0, 0.0, 1.0], vec![1.0, 2.0, 0.0]]]);
    assert_near(&cosine_similarity(&large, &same).unwrap().rows()[0], &[1.0, 1.0], 1e-6);
}

fn logits() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    (2_usize..40).prop_flat_map(|n| {
        let values = || prop::collection::vec(-20.0_f32..20.0, n);
        (values(), values())
    })
}

fn vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    (1_usize..40).prop_flat_map(|n| {
        let values = || prop::collection::vec(prop_oneof![0.01_f32..10.0, -10.0_f32..-0.01], n);
        (values(), values())
    })
}

proptest! {
    #[test]
    fn divergences_have_their_bounds((p, q) in logits(), shift in -50.0_f32..50.0) {
        let n = f64::from(u32::try_from(p.len()).unwrap());
        let shifted = log_probs(&[p.iter().map(|x| x + shift).collect()]);
        let (p, q) = (log_probs(&[p]), log_probs(&[q]));
        let kl = |a: &LogProbs, b: &LogProbs| a.kl_divergence(b).unwrap()[0];
        prop_assert!(kl(&p, &q) >= 0.0);
        prop_assert!(kl(&p, &p) == 0.0);
        // Adding a constant to logits changes nothing.
        prop_assert!(kl(&p, &shifted) < 1e-4 && (kl(&shifted, &q) - kl(&p, &q)).abs() < 1e-3);
        // The likelihoods of all tokens are a distribution, and shifting does not change it.
        let nll = |of: &LogProbs| -> Vec<f64> {
            (0..of.tensor().dims()[1]).map(|i| of.nll(&[u32::try_from(i).unwrap()]).unwrap()[0]).collect()
        };
        let (losses, of_shifted) = (nll(&p), nll(&shifted));
        prop_assert!(losses.iter().all(|loss| *loss >= 0.0));
        prop_assert!((losses.iter().map(|loss| (-loss).exp()).sum::<f64>() - 1.0).abs() < 1e-5);
        prop_assert!(losses.iter().zip(of_shifted).all(|(a, b)| (a - b).abs() < 1e-4));
        let entropy = p.entropy().unwrap()[0];
        prop_assert!((0.0..=n.ln() + 1e-5).contains(&entropy));
        let js = |a: &LogProbs, b: &LogProbs| a.jensen_shannon_divergence(b).unwrap()[0];
        prop_assert!((js(&p, &q) - js(&q, &p)).abs() < 1e-6);
        prop_assert!((0.0..=2.0_f64.ln()).contains(&js(&p, &q)));
        let overlap = |k| p.top_k_overlap(&q, k).unwrap()[0];
        prop_assert_eq!(overlap(1) > 0.5, p.top1_agreement(&q).unwrap()[0]);
        prop_assert_eq!(overlap(q.tensor().dims()[1]), 1.0);
        prop_assert_eq!(p.top_k_overlap(&q, 2).unwrap(), q.top_k_overlap(&p, 2).unwrap());
    }

    /// Three layers of two tokens, each layer scaled by a factor of its own.
    #[test]
    fn matrices_and_influence_ignore_length(
        values in prop::collection::vec(prop_oneof![0.01_f32..10.0, -10.0_f32..-0.01], 3 * 2 * 5),
        scales in prop::collection::vec(0.001_f32..1000.0, 3),
    ) {
        let tensor = |values: &[f32]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), [3, 2, 5]), &Device::flex());
        let scaled: Vec<f32> = values.iter().enumerate().map(|(i, value)| value * scales[i / 10]).collect();
        let found = similarity_matrix(&tensor(&values)).unwrap();
        let of_scaled = similarity_matrix(&tensor(&scaled)).unwrap();
        for a in 0..3 {
            prop_assert!((found.get(a, a).unwrap() - 1.0).abs() < 1e-6);
            for b in 0..3 {
                let value = found.get(a, b).unwrap();
                prop_assert!((-1.0..=1.0).contains(&value));
                prop_assert!((value - found.get(b, a).unwrap()).abs() < 1e-6);
                prop_assert!((value - of_scaled.get(a, b).unwrap()).abs() < 1e-5);
            }
        }
        let influence = |values: &[f32]| {
            let mut influence = BlockInfluence::default();
            influence.add(&tensor(values)).unwrap();
            influence.values().unwrap()
        };
        let (plain, of_scaled) = (influence(&values), influence(&scaled));
        for layer in 0..2 {
            prop_assert!((0.0..=2.0).contains(&plain[layer]));
            prop_assert!((plain[layer] - of_scaled[layer]).abs() < 1e-5);
            // Neighbours in the matrix.
            prop_assert!((1.0 - plain[layer] - found.get(layer, layer + 1).unwrap()).abs() < 1e-6);
        }
    }

    #[test]
    fn cosines_ignore_length((x, r) in vectors(), scale in 0.001_f32..1000.0) {
        let of = |x: &[f32]| states(&[vec![x.to_vec()]]);
        let cosine = |x: &Tensor<3>, r: &Tensor<3>| cosine_similarity(x, r).unwrap().get(0, 0).unwrap();
        let error = |x: &Tensor<3>, r: &Tensor<3>| relative_error(x, r).unwrap().get(0, 0).unwrap();
        let (x, r) = (of(&x), of(&r));
        let found = cosine(&x, &r);
        prop_assert!((-1.0..=1.0).contains(&found));
        prop_assert!((found - cosine(&r, &x)).abs() < 1e-6);
        prop_assert!((found - cosine(&(x.clone() * scale), &r)).abs() < 1e-5);
        prop_assert!((found + cosine(&x.clone().neg(), &r)).abs() < 1e-6);
        // Errors do not, unless both change.
        let both = error(&(x.clone() * scale), &(r.clone() * scale));
        prop_assert!((both - error(&x, &r)).abs() <= 1e-4 * both.max(1.0));
        prop_assert_eq!(error(&x, &x), 0.0);
        prop_assert!((error(&(x.clone() * 3.0), &x) - 2.0).abs() < 1e-5);
    }
}
