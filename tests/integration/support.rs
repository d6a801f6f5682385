//! Small models, controllers that follow given routes, and the masked reference.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use dynlayer::inference::report::{Ran, SequenceReport, Shared};
use dynlayer::inference::{Action, Controller, Decision, ScoreOptions, Site, controller_fn, score};
use dynlayer::model::config::LlamaConfig;
use dynlayer::model::{Backend, DeviceSpec, Llama, WeightDtype};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A Llama configuration in which as many dimensions as possible differ.
pub const SMALL: &str = r#"{"model_type": "llama", "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80,
    "num_hidden_layers": 5, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 12,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false}"#;

/// Returns the device of all tests that are not about a certain backend: flex, or the backend that `DYNLAYER_BACKEND`
/// names.
pub fn device() -> Device {
    match std::env::var("DYNLAYER_BACKEND") {
        Ok(name) => name.parse::<DeviceSpec>().and_then(DeviceSpec::open).unwrap(),
        Err(_) => Backend::Flex.device().unwrap(),
    }
}

/// Returns `true` if the tests run on flex, where bits are promised.
pub fn on_flex() -> bool {
    matches!(std::env::var("DYNLAYER_BACKEND").as_deref(), Err(_) | Ok("flex"))
}

/// Returns `true` and prints that the test is skipped, and why, unless the tests run on flex.
pub fn skipped_off_flex(why: &str) -> bool {
    if !on_flex() {
        println!("SKIPPED: {why}");
    }
    !on_flex()
}

/// Returns `true` and prints that the test is skipped, unless the device has 16-bit floats.
pub fn lacks_f16() -> bool {
    let lacks = !device().supports_dtype(DType::F16);
    if lacks {
        println!("SKIPPED: the device has no f16");
    }
    lacks
}

/// The number of cases of a property: `DYNLAYER_CASES` if it is set, otherwise `usual`, and 2 on other backends, where
/// every case takes seconds.
pub fn cases(usual: u32) -> ProptestConfig {
    let given = std::env::var("DYNLAYER_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(given.unwrap_or(if on_flex() { usual } else { 2 }))
}

/// All of these on flex; elsewhere, where one may take most of a minute, the first `few`.
pub fn some<I: IntoIterator>(all: I, few: usize) -> std::iter::Take<I::IntoIter> {
    all.into_iter().take(if on_flex() { usize::MAX } else { few })
}

pub fn config(json: &str) -> LlamaConfig {
    LlamaConfig::from_hf_json(json, "a test").unwrap()
}

pub fn small(device: &Device) -> Llama {
    random(&config(SMALL), device)
}

pub fn random(config: &LlamaConfig, device: &Device) -> Llama {
    config.init(7, WeightDtype::F32, device).unwrap()
}

/// The configurations of [`small`] and, half of the time, of small models with windows and layers without rotation.
pub fn small_configs() -> impl Strategy<Value = LlamaConfig> {
    let windows = prop::collection::btree_map(0usize..5, 1usize..12, 0..6);
    let unrotated = prop::collection::btree_set(0usize..5, 0..3);
    let varied = |(windows, unrotated, varied): (BTreeMap<usize, usize>, BTreeSet<usize>, bool)| {
        let plain = config(SMALL);
        if varied { LlamaConfig { windows, unrotated, ..plain } } else { plain }
    };
    (windows, unrotated, any::<bool>()).prop_map(varied)
}

/// Sets all weights whose path contains one of these names to the same number.
pub fn filled(model: Llama, names: &[String], number: f32) -> Llama {
    struct Fill<'a> {
        path: Vec<String>,
        names: &'a [String],
        number: f32,
        found: usize,
    }
    impl ModuleMapper for Fill<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join(".");
            if !self.names.iter().any(|name| path.contains(name)) {
                return param;
            }
            self.found += 1;
            param.map(|weight| weight.full_like(self.number))
        }
    }
    let mut fill = Fill { path: Vec::new(), names, number, found: 0 };
    let model = model.map(&mut fill);
    assert_eq!(fill.found, names.len(), "{names:?}");
    model
}

/// The library's controllers in their text forms, for models of at least six layers.
pub const SPECS: [&str; 15] = [
    "confidence:0.01",
    "saturation:0.9,every=2",
    "full",
    "skip:1,3",
    "uniform:4",
    "exit:3",
    "influence:4",
    "random:4",
    "random:1,ends=free",
    "bernoulli:0.5",
    "schedule:6..2,to=9",
    "entropy:4.1,patience=2",
    "similarity:0.3",
    "budgeted:3.5:bernoulli:0.7",
    "warmup:2:uniform:3",
];

/// Returns a controller whose answers depend on the token and the layer, so that the rows of a pass disagree.
pub fn by_token() -> impl Controller + Send {
    controller_fn(|site: &Site<'_>| {
        let action = |token: u32| match (token as usize + site.layer()) % 4 {
            0 => Action::SkipMlp,
            1 => Action::SkipAttention,
            2 => Action::Skip,
            _ => Action::Run,
        };
        Decision::per_row(site.rows().iter().map(|row| action(row.token)))
    })
}

/// The actions of each generated token, layer by layer.
pub type Routes = Vec<Vec<Action>>;

/// Returns a controller that follows the routes of the token that is generated next.
pub fn follow(routes: &Routes) -> impl Controller + '_ {
    controller_fn(move |site| {
        Decision::per_row(site.rows().iter().map(|row| routes[row.generated % routes.len()][site.layer()]))
    })
}

/// Returns the engine's logits for each token of `continuation`.
pub fn skipped(
    model: &Llama,
    routes: &Routes,
    prompt: &[u32],
    continuation: &[u32],
    o: &ScoreOptions,
) -> Vec<Vec<f32>> {
    let options = ScoreOptions { keep_logits: true, ..o.clone() };
    let (scored, _) = score(model, follow(routes), prompt, continuation, &options).unwrap();
    scored.tokens.into_iter().map(|token| token.logits).collect()
}

/// Returns the reference's logits for each token: it runs every sublayer and keeps the old state where the route skips,
/// without a controller. `whole` runs the text in one pass without a cache; otherwise the passes are the engine's.
/// Corresponds to `ControlFrom::LastPromptToken`; `holes` hides the skipped tokens' slots too, as `KvPolicy::Omit`
/// does.
pub fn masked(
    model: &Llama,
    routes: &Routes,
    prompt: &[u32],
    continuation: &[u32],
    whole: bool,
    holes: bool,
) -> Vec<Vec<f32>> {
    let text = [prompt, &continuation[..continuation.len() - 1]].concat();
    let first = prompt.len() - 1;
    let ran = |position: usize, layer: usize| {
        let Some(i) = position.checked_sub(first) else { return Ran { attention: true, mlp: true } };
        let route = &routes[i % routes.len()];
        let exited = route[..=layer].contains(&Action::Exit);
        Ran { attention: !exited && route[layer].runs_attention(), mlp: !exited && route[layer].runs_mlp() }
    };
    let mut cache = model.cache(1, text.len());
    let mut pass = |range: std::ops::Range<usize>| {
        let n = range.len();
        let frame = model.frame(&cache, &[0], &[range.clone().collect()]);
        let mut hidden = model.embed(model.tokens(&[&text[range.clone()]]));
        for (layer, block) in model.layers().iter().enumerate() {
            let keep = |which: fn(Ran) -> bool, old: Tensor<3>, new: Tensor<3>| {
                let runs: Vec<bool> = range.clone().map(|position| which(ran(position, layer))).collect();
                let runs = Tensor::<3, Bool>::from_data(TensorData::new(runs, [1, n, 1]), &old.device());
                old.clone().mask_where(runs.expand(old.dims()), new)
            };
            let with_holes = holes.then(|| frame.with_holes(|_| true, |_, slot| !ran(slot, layer).attention));
            let frame = with_holes.as_ref().unwrap_or(&frame);
            let attended = block.attention(hidden.clone(), frame, cache.layer_mut(layer));
            hidden = keep(|ran| ran.attention, hidden, attended);
            hidden = keep(|ran| ran.mlp, hidden.clone(), block.feed_forward(hidden));
        }
        cache.advance(&frame);
        rows(model.logits(hidden))
    };
    if whole {
        return pass(0..text.len()).split_off(first);
    }
    if first > 0 {
        pass(0..first);
    }
    (first..text.len()).flat_map(|at| pass(at..at + 1)).collect()
}

/// Converts `[1, tokens, vocab_size]` to a vector per token.
pub fn rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let width = logits.dims()[2];
    let values = logits.into_data().try_into_vec_as::<f32>().unwrap();
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// Returns a sequence's counts without those that depend on its batch: executed work and shared costs.
pub fn asked_for(sequence: &SequenceReport) -> SequenceReport {
    let mut asked = *sequence;
    asked.prefill.executed = asked.prefill.nominal;
    asked.decode.executed = asked.decode.nominal;
    (asked.prefill_shared, asked.decode_shared) = (Shared::default(), Shared::default());
    asked
}

/// Asserts equality to 1e-5 of the largest absolute logit: the rounding of a few hundred f32 additions in another
/// order.
#[track_caller]
pub fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_close_to(found, expected, 1e-5);
}

#[track_caller]
pub fn assert_close_to(found: &[Vec<f32>], expected: &[Vec<f32>], relative: f32) {
    assert_eq!(found.len(), expected.len());
    for (token, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst <= relative * largest, "token {token}: {worst:e} of {largest}");
    }
}
