//! A cache whose rows share slots, with which blocks run as tensor operations or in a GPU's kernels, against one whose rows
//! have memory of their own, with which they run in place.

use super::*;
use crate::config::AttentionBias;
use crate::decoder::Llama;
use crate::device::{DeviceSpec, WeightDtype};
use burn::tensor::{DType, Tensor};
use proptest::prelude::*;

const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 4,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;

/// A change of both caches, or a pass; a row is meant modulo the number of rows.
#[derive(Clone, Debug)]
enum Step {
    Add(usize),
    Copy(usize),
    Remove(usize),
    Truncate(usize, usize),
    /// A pass of this many tokens over every row, or over every other one.
    Pass(usize, bool),
    /// A pass of this many tokens over every row that runs no layer: it projects every other one, the first or not, at once, and
    /// the others one by one.
    Skip(usize, bool),
    /// A row is added, filled with NaN and removed.
    Poison(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1usize..100).prop_map(Step::Add),
        1 => (0usize..9).prop_map(Step::Copy),
        1 => (0usize..9).prop_map(Step::Remove),
        1 => (0usize..9, 0usize..90).prop_map(|(row, len)| Step::Truncate(row, len)),
        2 => (1usize..80, any::<bool>()).prop_map(|(tokens, all)| Step::Pass(tokens, all)),
        4 => any::<bool>().prop_map(|all| Step::Pass(1, all)),
        1 => (1usize..20, any::<bool>()).prop_map(|(tokens, first)| Step::Skip(tokens, first)),
        1 => (1usize..100).prop_map(Step::Poison),
    ]
}

/// Makes room for a pass, and returns its frame and the embedded tokens.
fn begin(model: &Llama, cache: &mut KvCache, rows: &[usize], tokens: usize) -> (Frame, Tensor<3>) {
    let positions: Vec<Vec<usize>> =
        rows.iter().map(|row| (cache.len(*row)..cache.len(*row) + tokens).collect()).collect();
    for (row, positions) in rows.iter().zip(&positions) {
        cache.reserve(*row, cache.len(*row) + positions.len());
    }
    let ids: Vec<Vec<u32>> =
        positions.iter().map(|row| row.iter().map(|at| u32::try_from(at * 7 % 50).unwrap()).collect()).collect();
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    (model.frame(cache, rows, &positions), model.embed(model.tokens(&ids)))
}

/// Runs a pass, whose slots with an odd number are hidden in the first layer if `holes`. A single token in such a slot does not
/// run this layer, and writes nothing there.
fn pass(model: &Llama, cache: &mut KvCache, rows: &[usize], tokens: usize, holes: bool) -> Tensor<3> {
    let (frame, mut hidden) = begin(model, cache, rows, tokens);
    let hidden_slots = frame.with_holes(|_| true, |_, slot| slot % 2 == 1);
    let skips = holes && tokens == 1 && rows.iter().all(|row| cache.len(*row) % 2 == 1);
    for (layer, block) in model.layers().iter().enumerate() {
        if skips && layer == 0 {
            continue;
        }
        let frame = if holes && layer == 0 { &hidden_slots } else { &frame };
        hidden = block.forward(hidden, frame, cache.layer_mut(layer));
    }
    cache.advance(&frame);
    hidden
}

/// The device of the cache whose rows share slots: flex, or the backend that `DYNLAYER_BACKEND` names.
fn device() -> Device {
    let named = std::env::var("DYNLAYER_BACKEND").map(|name| name.parse::<DeviceSpec>().and_then(DeviceSpec::open));
    named.map_or(Device::flex(), Result::unwrap)
}

/// Returns the numbers of a tensor on any device.
fn numbers(x: Tensor<3>) -> Vec<f32> {
    x.into_data().try_into_vec_as().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// To 1e-5: the sums run in another order. In f16, a number of up to 4 may be rounded the other way, by 2e-3. Over 19 layers,
    /// differences grow.
    #[test]
    fn a_pool_gives_what_rows_give(
        steps in prop::collection::vec(step(), 1..24), window in 0usize..20, holes: bool, half: bool, family in 0usize..4, unrotated: bool, width in 0usize..3,
        deep in prop::bool::weighted(0.1), mixed: bool,
    ) {
        let devices = [Device::flex(), device()];
        let half = half && devices[1].supports_dtype(DType::F16);
        let (dtype, tolerance) = if half { (KvDtype::F16, 4e-3) } else { (KvDtype::F32, 1e-5) };
        let tolerance = if deep { 10.0 * tolerance } else { tolerance };
        let mut config = LlamaConfig::from_hf_json(MODEL, "a test").unwrap();
        // A GPU divides heads of 32 among its cubes.
        config.head_dim = [4, 20, 32][width];
        // A GPU writes keys and values of eight layers at once.
        config.n_layers = if deep { 19 } else { 2 };
        config.windows.extend((window > 0).then_some((1, window)));
        // Biases as Llama, Qwen2 and Qwen3 may have them.
        let (qkv, output, mlp) = (family > 0, family == 1 || family == 3, family == 1);
        config.attention_bias = AttentionBias { qkv, output, mlp };
        config.qk_norm = family == 3;
        config.unrotated.extend(unrotated.then_some(0));
        let mixed = mixed && devices[1].supports_dtype(DType::F16);
        let models = devices.each_ref().map(|device| {
            let of = |dtype| config.init(3, dtype, device).unwrap();
            let mut model = of(WeightDtype::F32);
            // Layers with weights of another type, which no launch can take with the others.
            let others = if mixed { of(WeightDtype::F16).layers } else { Vec::new() };
            for (layer, other) in model.layers.iter_mut().zip(others).step_by(3) {
                *layer = other;
            }
            model
        });
        let cache = |i: usize| KvCache::with_pool(i == 1, &config, dtype, 1, 5, &devices[i]);
        let mut caches = [cache(0), cache(1)];
        for step in steps {
            let n = caches[0].rows();
            if n == 0 && !matches!(step, Step::Add(_) | Step::Poison(_)) {
                continue;
            }
            let rows: Vec<usize> = match step {
                Step::Pass(_, all) => (0..n).step_by(if all { 1 } else { 2 }).collect(),
                _ => Vec::new(),
            };
            let mut found = Vec::new();
            for (model, cache) in models.iter().zip(&mut caches) {
                match step {
                    Step::Add(capacity) => drop(cache.add_row(capacity)),
                    Step::Copy(row) => drop(cache.copy_row(row % n)),
                    Step::Remove(row) => cache.remove_row(row % n),
                    Step::Poison(slots) => {
                        let row = cache.add_row(slots);
                        let [heads, width] = cache.shape;
                        let nan = Tensor::full([1, heads, slots, width], f32::NAN, &model.device());
                        for layer in 0..cache.n_layers() {
                            cache.layer_mut(layer).write_slots(row, 0, nan.clone(), nan.clone());
                        }
                        cache.remove_row(row);
                    }
                    Step::Truncate(row, len) => cache.truncate(row % n, len),
                    Step::Skip(tokens, first) => {
                        let rows: Vec<usize> = (0..n).collect();
                        let (frame, hidden) = begin(model, cache, &rows, tokens);
                        let layers = 0..cache.n_layers();
                        let (at_once, alone): (Vec<usize>, Vec<usize>) = layers.partition(|layer| (layer % 2 == 0) == first);
                        model.propagate(&at_once, &hidden, &frame, cache);
                        for layer in alone {
                            model.layers()[layer].propagate(hidden.clone(), &frame, cache.layer_mut(layer));
                        }
                        cache.advance(&frame);
                    }
                    Step::Pass(tokens, _) => {
                        let hidden = pass(model, cache, &rows, tokens, holes);
                        let logits = model.logits(hidden.clone().narrow(1, tokens - 1, 1));
                        found.push([numbers(hidden), numbers(logits)].concat());
                    }
                }
            }
            prop_assert_eq!(caches[0].rows(), caches[1].rows());
            if let [rows, pool] = &found[..] {
                // NaN is not close to anything.
                let close = |(row, pool): &(&f32, &f32)| (*row - *pool).abs() < tolerance;
                let far = rows.iter().zip(pool).find(|pair| !close(pair));
                prop_assert!(rows.len() == pool.len() && far.is_none(), "{far:?}");
            }
        }
    }

    /// A token has the same bits in a pass of any number of tokens, also in a layer with a window.
    #[test]
    fn windows_do_not_depend_on_company(lengths in prop::collection::vec(1usize..30, 1..6), window in 1usize..50) {
        let mut config = LlamaConfig::from_hf_json(MODEL, "a test").unwrap();
        config.windows.insert(1, window);
        let model = config.init(3, WeightDtype::F32, &Device::flex()).unwrap();
        let run = |lengths: &[usize]| {
            let mut cache = model.cache(1, 1);
            let hidden = lengths.iter().map(|tokens| pass(&model, &mut cache, &[0], *tokens, false)).collect();
            let values = Tensor::cat(hidden, 1).into_data().try_into_vec_as::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let total: usize = lengths.iter().sum();
        prop_assert!(run(&lengths) == run(&[total]), "in one pass");
        prop_assert!(run(&vec![1; total]) == run(&[total]), "one by one");
    }
}
