//! Equality of every supported model family with a plain forward pass in `f64` that does not use the library, and with
//! transformers.

use crate::checkpoints::{tensors, write_safetensors};
use crate::support::{assert_close, config, device, rows};
use dynlayer::model::config::{LlamaConfig, RopeScaling};
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const SIZES: &str = r#""vocab_size": 61, "hidden_size": 40, "intermediate_size": 72, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6"#;

struct Plain {
    config: LlamaConfig,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Plain {
    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (shape, w) = &self.tensors[&format!("{name}.weight")];
        let bias = self.tensors.get(&format!("{name}.bias"));
        (0..shape[0])
            .map(|o| {
                let sum: f64 = (0..shape[1]).map(|i| f64::from(w[o * shape[1] + i]) * x[i]).sum();
                sum + bias.map_or(0.0, |(_, b)| f64::from(b[o]))
            })
            .collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (_, gamma) = &self.tensors[&format!("{name}.weight")];
        let scale = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + self.config.norm_eps).sqrt();
        x.iter().zip(gamma).map(|(v, g)| v / scale * f64::from(*g)).collect()
    }

    fn frequency(&self, i: usize) -> f64 {
        let f = self.config.rope.theta.powf(-2.0 * i as f64 / self.config.head_dim as f64);
        match &self.config.rope.scaling {
            RopeScaling::Linear { factor } => f / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let turns = *original_max_positions as f64 * f / (2.0 * std::f64::consts::PI);
                let smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                f * (smooth + (1.0 - smooth) / factor)
            }
            _ => f,
        }
    }

    fn rotate(&self, head: &[f64], position: usize) -> Vec<f64> {
        let half = head.len() / 2;
        let angle = |i: usize| position as f64 * self.frequency(i % half);
        (0..head.len())
            .map(|i| {
                let partner = if i < half { -head[i + half] } else { head[i - half] };
                head[i] * angle(i).cos() + partner * angle(i).sin()
            })
            .collect()
    }

    /// Without a position, the heads are not rotated.
    fn heads(&self, name: &str, norm: &str, x: &[f64], position: Option<usize>) -> Vec<Vec<f64>> {
        let flat = self.linear(name, x);
        flat.chunks(self.config.head_dim)
            .map(|head| {
                let head = if self.tensors.contains_key(&format!("{norm}.weight")) {
                    self.norm(norm, head)
                } else {
                    head.to_vec()
                };
                match position {
                    Some(position) => self.rotate(&head, position),
                    None => head,
                }
            })
            .collect()
    }

    fn logits(&self, text: &[u32]) -> Vec<Vec<f32>> {
        let c = &self.config;
        let embedding = &self.tensors["model.embed_tokens.weight"].1;
        let row = |t: &u32| embedding[*t as usize * c.d_model..][..c.d_model].iter().map(|x| f64::from(*x)).collect();
        let mut h: Vec<Vec<f64>> = text.iter().map(row).collect();
        for layer in 0..c.n_layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            let position = |p: usize| (!c.unrotated.contains(&layer)).then_some(p);
            let window = c.windows.get(&layer).copied().unwrap_or(usize::MAX);
            let normed: Vec<_> = h.iter().map(|x| self.norm(&at("input_layernorm"), x)).collect();
            let keys: Vec<_> = normed
                .iter()
                .enumerate()
                .map(|(p, x)| self.heads(&at("self_attn.k_proj"), &at("self_attn.k_norm"), x, position(p)))
                .collect();
            let values: Vec<Vec<f64>> = normed.iter().map(|x| self.linear(&at("self_attn.v_proj"), x)).collect();
            for (p, x) in normed.iter().enumerate() {
                let queries = self.heads(&at("self_attn.q_proj"), &at("self_attn.q_norm"), x, position(p));
                let first = (p + 1).saturating_sub(window);
                let mut mixed = Vec::new();
                for (i, q) in queries.iter().enumerate() {
                    let kv = i / (c.n_heads / c.n_kv_heads);
                    let scores: Vec<f64> = (first..=p)
                        .map(|s| {
                            q.iter().zip(&keys[s][kv]).map(|(a, b)| a * b).sum::<f64>() / (c.head_dim as f64).sqrt()
                        })
                        .map(f64::exp)
                        .collect();
                    let total: f64 = scores.iter().sum();
                    let value = |s: usize, d: usize| values[first + s][kv * c.head_dim + d];
                    let sum = |d: usize| scores.iter().enumerate().map(|(s, e)| e / total * value(s, d)).sum::<f64>();
                    mixed.extend((0..c.head_dim).map(sum));
                }
                for (h, y) in h[p].iter_mut().zip(self.linear(&at("self_attn.o_proj"), &mixed)) {
                    *h += y;
                }
            }
            for h in &mut h {
                let x = self.norm(&at("post_attention_layernorm"), h);
                let (gate, up) = (self.linear(&at("mlp.gate_proj"), &x), self.linear(&at("mlp.up_proj"), &x));
                let inner: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                for (h, y) in h.iter_mut().zip(self.linear(&at("mlp.down_proj"), &inner)) {
                    *h += y;
                }
            }
        }
        let head = if c.tied_embeddings { "model.embed_tokens" } else { "lm_head" };
        let logits = |h: &Vec<f64>| self.linear(head, &self.norm("model.norm", h));
        h.iter().map(|h| logits(h).into_iter().map(|x| x as f32).collect()).collect()
    }
}

fn agrees(json: &str) {
    config_agrees(&config(json));
}

fn config_agrees(config: &LlamaConfig) {
    let model = config.init(11, WeightDtype::F32, &device()).unwrap();
    for length in [1, 5, 33] {
        let text: Vec<u32> = (0..length).map(|i| (i * 17 + 3) % 61).collect();
        let plain = Plain { config: config.clone(), tensors: tensors(&model) };
        assert_close(&whole(&model, &text), &plain.logits(&text));
    }
}

/// The logits of a text in one pass.
fn whole(model: &Llama, text: &[u32]) -> Vec<Vec<f32>> {
    let mut cache = model.cache(1, text.len());
    let frame = model.frame(&cache, &[0], &[(0..text.len()).collect()]);
    rows(model.logits(model.forward(model.tokens(&[text]), &frame, &mut cache)))
}

#[test]
fn llama_with_biases_and_a_tied_head() {
    agrees(&format!(
        r#"{{"model_type": "llama", {SIZES}, "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true}}"#
    ));
}

#[test]
fn llama_with_linear_scaling_and_wide_heads() {
    agrees(&format!(
        r#"{{"model_type": "llama", {SIZES}, "head_dim": 16, "rope_scaling": {{"type": "linear", "factor": 2.5}}}}"#
    ));
}

#[test]
fn llama_3_scaling() {
    agrees(&format!(
        r#"{{"model_type": "llama", {SIZES}, "rope_theta": 500.0, "rope_scaling": {{"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 48}}}}"#
    ));
}

#[test]
fn mistral() {
    agrees(&format!(r#"{{"model_type": "mistral", {SIZES}, "sliding_window": null, "rope_theta": 10000.0}}"#));
}

#[test]
fn qwen_2_biases() {
    agrees(&format!(r#"{{"model_type": "qwen2", {SIZES}, "tie_word_embeddings": true}}"#));
}

#[test]
fn qwen_3_norms() {
    agrees(&format!(r#"{{"model_type": "qwen3", {SIZES}, "head_dim": 12}}"#));
}

#[test]
fn windows_and_unrotated_layers() {
    for model_type in ["llama", "qwen3"] {
        let plain = config(&format!(r#"{{"model_type": "{model_type}", {SIZES}, "head_dim": 12}}"#));
        for (windows, unrotated) in [
            (BTreeMap::from([(0, 4), (2, 20)]), BTreeSet::new()),
            (BTreeMap::from([(0, 1), (1, 7), (2, 7)]), BTreeSet::from([1])),
            (BTreeMap::new(), BTreeSet::from([0, 2])),
        ] {
            config_agrees(&LlamaConfig { windows, unrotated, ..plain.clone() });
        }
    }
}

/// A tiny model as `tests/reference/families.py` saves it, without its weights.
#[derive(Deserialize)]
struct Family {
    name: String,
    config: serde_json::Value,
    tokens: Vec<u32>,
    /// The tokens whose logits are known.
    at: Vec<usize>,
    logits: Vec<Vec<f32>>,
}

/// Draws the weights of a tensor as `tests/reference/families.py` does.
fn drawn(name: &str, n: usize) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let centre = if name.contains("norm") { 1.0 } else { 0.0 };
    let weight = |i: u32| {
        let x = i.wrapping_mul(2_654_435_761).wrapping_add(seed);
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        ((x ^ (x >> 16)) >> 9) as f32 / (1u32 << 23) as f32 - 0.5 + centre
    };
    (0..n as u32).map(weight).collect()
}

/// The folders load with the configurations that transformers writes. Their prompts are longer than their windows.
#[test]
fn families_agree_with_transformers() {
    let families: Vec<Family> = serde_json::from_str(include_str!("fixtures/families.json")).unwrap();
    for Family { name, config: written, tokens, at, logits } in families {
        let json = written.to_string();
        let random = config(&json).init(1, WeightDtype::F32, &device()).unwrap();
        let mut weights = tensors(&random);
        for (name, (_, values)) in &mut weights {
            *values = drawn(name, values.len());
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), &json).unwrap();
        write_safetensors(&weights, &folder.path().join("model.safetensors"));
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let windowed = !checkpoint.config().windows.is_empty();
        assert_eq!(windowed, name.contains("window"), "{name}");
        let model = checkpoint.load(WeightDtype::F32, &device(), |_| {}).unwrap();
        let found = whole(&model, &tokens);
        for (token, expected) in at.into_iter().zip(&logits) {
            let found = &found[token];
            let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(worst <= 1e-4 * largest, "{name}, token {token}: {worst:e} of {largest}");
        }
    }
}
