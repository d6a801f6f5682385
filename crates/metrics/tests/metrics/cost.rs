//! The cost formulas against a forward pass that counts its own multiply-adds and the weights it reads.

use dynlayer_metrics::cost::{CostSummary, Counts, Dimensions, Usage};
use proptest::prelude::*;
use std::collections::HashSet;

/// Counters of a forward pass, which count each multiply-add as it is done.
#[derive(Default)]
struct Machine {
    multiply_adds: u64,
    /// Weights read since the last launch began, by matrix and element; one that is read twice counts once.
    touched: HashSet<(usize, usize)>,
    weights_read: u64,
    kv_moved: u64,
}

impl Machine {
    /// The product W x with `W: [rows, x.len()]`. The matrix has a number, and made-up values.
    fn product(&mut self, matrix: usize, rows: usize, x: &[f64]) -> Vec<f64> {
        (0..rows)
            .map(|row| {
                let mut sum = 0.0;
                for (column, value) in x.iter().enumerate() {
                    let element = row * x.len() + column;
                    self.touched.insert((matrix, element));
                    self.multiply_adds += 1;
                    let weight = f64::from(u32::try_from((matrix * 31 + element * 17) % 13).unwrap()) / 13.0 - 0.5;
                    sum += weight * value;
                }
                sum
            })
            .collect()
    }

    fn end_launch(&mut self) {
        self.weights_read += self.touched.len() as u64;
        self.touched.clear();
    }
}

/// The parts of a layer that run for a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layer {
    Run,
    SkipKeepingKv,
    AttentionOnly,
    MlpOnly,
    Omit,
}

type Cache = Vec<(Vec<f64>, Vec<f64>)>;

/// Runs a token through a decoder, one multiply-add at a time, and fills the counts that the formulas take.
fn token(d: &Dimensions, plan: &[Layer], caches: &mut [Cache], machine: &mut Machine, counts: &mut Counts) {
    let mut x = vec![1.0; d.d_model];
    for (layer, plan) in plan.iter().enumerate() {
        let matrix = layer * 10;
        let (width, kv_width) = (d.n_heads * d.head_dim, d.n_kv_heads * d.head_dim);
        let attends = matches!(plan, Layer::Run | Layer::AttentionOnly);
        if attends || matches!(plan, Layer::SkipKeepingKv | Layer::MlpOnly) {
            let key = machine.product(matrix, kv_width, &x);
            let value = machine.product(matrix + 1, kv_width, &x);
            machine.kv_moved += (key.len() + value.len()) as u64;
            caches[layer].push((key, value));
        }
        if attends {
            let queries = machine.product(matrix + 2, width, &x);
            let mut mixed = vec![0.0; width];
            for head in 0..d.n_heads {
                let kv = head * d.n_kv_heads / d.n_heads * d.head_dim;
                let query = &queries[head * d.head_dim..(head + 1) * d.head_dim];
                let mut scores = Vec::new();
                for (key, _) in &caches[layer] {
                    let mut score = 0.0;
                    for (q, k) in query.iter().zip(&key[kv..kv + d.head_dim]) {
                        score += q * k;
                        machine.multiply_adds += 1;
                    }
                    scores.push(score);
                }
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
                for (score, (_, value)) in scores.iter().zip(&caches[layer]) {
                    let probability = (score - largest).exp() / total;
                    for at in 0..d.head_dim {
                        mixed[head * d.head_dim + at] += probability * value[kv + at];
                        machine.multiply_adds += 1;
                    }
                }
            }
            // Grouped heads share their keys and values: the cache is read once per position.
            machine.kv_moved += caches[layer].iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
            let out = machine.product(matrix + 3, d.d_model, &mixed);
            x.iter_mut().zip(out).for_each(|(x, out)| *x += out);
            counts.attention += 1;
            counts.attended += caches[layer].len() as u64;
        } else if *plan != Layer::Omit {
            counts.kv_projections += 1;
        }
        if matches!(plan, Layer::Run | Layer::MlpOnly) {
            let gate = machine.product(matrix + 4, d.d_ff, &x);
            let up = machine.product(matrix + 5, d.d_ff, &x);
            let inner: Vec<f64> = gate.iter().zip(&up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
            let down = machine.product(matrix + 6, d.d_model, &inner);
            x.iter_mut().zip(down).for_each(|(x, down)| *x += down);
            counts.mlp += 1;
        }
    }
    machine.product(d.n_layers * 10, d.vocab_size, &x);
    counts.head_products += 1;
}

const SMALL: Dimensions = Dimensions {
    n_layers: 3,
    d_model: 12,
    d_ff: 20,
    n_heads: 4,
    n_kv_heads: 2,
    head_dim: 5,
    vocab_size: 17,
    bytes_per_weight: 2.0,
};

fn plans() -> impl Strategy<Value = Vec<Vec<Layer>>> {
    let layer =
        prop::sample::select(vec![Layer::Run, Layer::SkipKeepingKv, Layer::AttentionOnly, Layer::MlpOnly, Layer::Omit]);
    prop::collection::vec(prop::collection::vec(layer, SMALL.n_layers), 1..8)
}

proptest! {
    /// For any parts that ran for any tokens, operations, weights and cache traffic equal the formulas exactly.
    #[test]
    fn formulas_equal_counted_operations(plans in plans()) {
        let (mut machine, mut counts) = (Machine::default(), Counts::default());
        let mut caches = vec![Cache::new(); SMALL.n_layers];
        for plan in &plans {
            // One row: every token is a launch, and counts in tokens are counts in launches.
            token(&SMALL, plan, &mut caches, &mut machine, &mut counts);
            machine.end_launch();
        }
        let exact = |count: u64| f64::from(u32::try_from(count).unwrap());
        prop_assert_eq!(SMALL.flops(&counts), 2.0 * exact(machine.multiply_adds));
        prop_assert_eq!(SMALL.weight_bytes(&counts), 2.0 * exact(machine.weights_read));
        prop_assert_eq!(SMALL.kv_bytes(&counts, 4.0), 4.0 * exact(machine.kv_moved));
    }
}

#[test]
fn the_full_model_is_every_layer() {
    let full = vec![Layer::Run; SMALL.n_layers];
    let mut caches = vec![Cache::new(); SMALL.n_layers];
    let (mut machine, mut prompt, mut decoded) = (Machine::default(), Counts::default(), Counts::default());
    for _ in 0..4 {
        token(&SMALL, &full, &mut caches, &mut machine, &mut prompt);
    }
    assert_eq!(SMALL.prompt_counts(4), Counts { head_products: 1, ..prompt });
    for _ in 0..3 {
        token(&SMALL, &full, &mut caches, &mut machine, &mut decoded);
    }
    assert_eq!(SMALL.full_counts(3, 4), decoded);
    assert_eq!(SMALL.full_launches(3), Counts { attended: 0, ..decoded });
    assert_eq!(SMALL.prompt_counts(0), Counts::default());
}

/// A launch for several rows reads its weights once.
#[test]
fn rows_share_the_weights_of_a_launch() {
    let full = vec![Layer::Run; SMALL.n_layers];
    let (mut machine, mut counts) = (Machine::default(), Counts::default());
    for _ in 0..5 {
        token(&SMALL, &full, &mut vec![Cache::new(); SMALL.n_layers], &mut machine, &mut counts);
    }
    machine.end_launch();
    assert_eq!(
        SMALL.weight_bytes(&SMALL.full_launches(1)),
        2.0 * f64::from(u32::try_from(machine.weights_read).unwrap())
    );
    assert_eq!(counts.layers(), 15.0);
}

#[test]
fn summaries_are_fractions_of_the_full_model() {
    let full = Usage::full(&SMALL, 4, 10);
    let same = CostSummary::new(&SMALL, &full, &full).unwrap();
    assert_eq!((same.layer_fraction, same.flops_fraction, same.weight_bytes_fraction), (1.0, 1.0, 1.0));
    assert_eq!((same.layers, same.attention, same.head_products), (3.0, 3.0, 1.0));
    assert_eq!(same.flops * 4.0, SMALL.flops(&full.work));
    assert!(CostSummary::new(&SMALL, &Usage::default(), &full).is_err());
    for bytes_per_weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(CostSummary::new(&Dimensions { bytes_per_weight, ..SMALL }, &full, &full).is_err());
    }
    assert!(CostSummary::new(&SMALL, &full, &Usage { tokens: 5, ..full }).is_err());
    assert!(CostSummary::new(&SMALL, &full, &Usage { tokens: 4, ..Usage::default() }).is_err());
}
