//! Tests of reading, writing and checking configurations.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AttentionBias, ConfigError, ConfigErrorKind, LlamaConfig, RopeConfig, RopeScaling, limits};

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
        "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "hidden_act": "silu", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100_000,
        "rope_scaling": null, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2, "pretraining_tp": 2,
    })
}

fn family(name: &str, architecture: &str) -> Value {
    json!({
        "architectures": [architecture], "model_type": name, "vocab_size": 1000, "hidden_size": 4096,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 32,
    })
}

fn with(mut json: Value, field: &str, value: Value) -> Value {
    json[field] = value;
    json
}

fn without(mut json: Value, field: &str) -> Value {
    json.as_object_mut().unwrap().remove(field);
    json
}

fn read(json: &Value) -> Result<LlamaConfig, ConfigError> {
    LlamaConfig::from_hf_json(&json.to_string(), "config.json")
}

#[test]
fn smollm2() {
    let config = read(&llama()).unwrap();
    let expected = LlamaConfig {
        vocab_size: 49152,
        d_model: 576,
        d_ff: 1536,
        n_layers: 30,
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 64,
        max_positions: 8192,
        norm_eps: 1e-5,
        rope: RopeConfig { theta: 1e5, scaling: RopeScaling::None },
        tied_embeddings: true,
        attention_bias: AttentionBias::default(),
        qk_norm: false,
        windows: BTreeMap::new(),
        unrotated: BTreeSet::new(),
        bos_token: Some(1),
        eos_tokens: vec![2],
    };
    assert_eq!(config, expected);
}

#[test]
fn defaults_are_those_of_each_family() {
    let llama = read(&family("llama", "LlamaForCausalLM")).unwrap();
    assert_eq!((llama.n_kv_heads, llama.head_dim, llama.max_positions), (32, 128, 2048));
    assert_eq!((llama.norm_eps, llama.rope.theta, llama.tied_embeddings), (1e-6, 1e4, false));
    assert_eq!((llama.bos_token, llama.eos_tokens.as_slice()), (Some(1), [2].as_slice()));

    let mistral = with(family("mistral", "MistralForCausalLM"), "sliding_window", Value::Null);
    let config = read(&mistral).unwrap();
    assert_eq!((config.n_kv_heads, config.max_positions), (8, 131_072));
    assert_eq!(read(&with(mistral, "num_key_value_heads", Value::Null)).unwrap().n_kv_heads, 32);

    let qwen2 = read(&family("qwen2", "Qwen2ForCausalLM")).unwrap();
    assert_eq!(qwen2.attention_bias, AttentionBias { qkv: true, output: false, mlp: false });
    assert_eq!((qwen2.n_kv_heads, qwen2.max_positions, qwen2.qk_norm), (32, 32768, false));
    assert_eq!((qwen2.bos_token, qwen2.eos_tokens.len()), (None, 0));

    let qwen3 = with(family("qwen3", "Qwen3ForCausalLM"), "hidden_size", json!(1024));
    let config = read(&qwen3).unwrap();
    assert_eq!((config.head_dim, config.qk_norm, config.attention_bias.qkv), (128, true, false));
    let config = read(&with(qwen3, "attention_bias", json!(true))).unwrap();
    assert_eq!(config.attention_bias, AttentionBias { qkv: true, output: true, mlp: false });
}

#[test]
fn biases_tokens_and_either_name_of_the_family() {
    let json = with(with(llama(), "attention_bias", json!(true)), "mlp_bias", json!(true));
    assert_eq!(read(&json).unwrap().attention_bias, AttentionBias { qkv: true, output: true, mlp: true });
    assert_eq!(read(&with(llama(), "eos_token_id", json!([2, 7]))).unwrap().eos_tokens, [2, 7]);
    assert!(read(&with(llama(), "eos_token_id", Value::Null)).unwrap().eos_tokens.is_empty());
    assert_eq!(read(&with(llama(), "bos_token_id", Value::Null)).unwrap().bos_token, None);
    assert!(read(&without(llama(), "model_type")).is_ok());
    assert!(read(&without(llama(), "architectures")).is_ok());
}

#[test]
fn rope_in_all_its_spellings() {
    let llama3 = json!({
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 4096,
        "rope_type": "llama3",
    });
    let expected =
        RopeScaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_positions: 4096 };
    assert_eq!(read(&with(llama(), "rope_scaling", llama3.clone())).unwrap().rope.scaling, expected);
    let new = with(without(llama(), "rope_theta"), "rope_parameters", with(llama3.clone(), "rope_theta", json!(5e5)));
    assert_eq!(read(&new).unwrap().rope, RopeConfig { theta: 5e5, scaling: expected });
    let implied = read(&with(llama(), "rope_scaling", without(llama3, "original_max_position_embeddings"))).unwrap();
    assert!(matches!(implied.rope.scaling, RopeScaling::Llama3 { original_max_positions: 8192, .. }));
    let linear = json!({"type": "linear", "factor": 2});
    assert_eq!(read(&with(llama(), "rope_scaling", linear)).unwrap().rope.scaling, RopeScaling::Linear { factor: 2.0 });
    for plain in [json!({}), json!({"rope_type": "default"}), json!({"rope_theta": 1e5})] {
        let rope = read(&with(llama(), "rope_scaling", plain)).unwrap().rope;
        assert_eq!(rope, RopeConfig { theta: 1e5, scaling: RopeScaling::None });
    }
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let mistral = family("mistral", "MistralForCausalLM");
    let qwen2 = family("qwen2", "Qwen2ForCausalLM");
    for (json, field, found) in [
        (with(llama(), "model_type", json!("mixtral")), "model_type", "mixtral"),
        (with(llama(), "architectures", json!(["Phi3ForCausalLM"])), "architectures", "Phi3"),
        (with(llama(), "architectures", json!(["LlamaForVision"])), "architectures", "LlamaForVision"),
        (with(llama(), "model_type", json!("gemma2")), "model_type", "gemma2 (other arithmetic: "),
        (with(llama(), "model_type", json!("qwen2_moe")), "model_type", "qwen2_moe (other arithmetic: a mixture"),
        (with(llama(), "hidden_act", json!("gelu")), "hidden_act", "gelu"),
        (with(llama(), "rope_scaling", json!({"rope_type": "yarn", "factor": 4})), "rope_scaling.rope_type", "yarn"),
        (with(llama(), "rope_scaling", json!({"type": "dynamic", "factor": 4})), "rope_scaling.rope_type", "dynamic"),
        (with(llama(), "rope_parameters", json!({"full_attention": {}})), "rope_parameters", "full_attention"),
        (with(llama(), "partial_rotary_factor", json!(0.5)), "partial_rotary_factor", "0.5"),
        (with(llama(), "quantization_config", json!({"bits": 4})), "quantization_config", "bits"),
        (with(llama(), "num_local_experts", json!(8)), "num_local_experts", "8"),
        (with(llama(), "layer_types", json!(["linear_attention"])), "layer_types", "linear_attention"),
        (with(mistral, "layer_types", json!(["full_attention"])), "layer_types", "full_attention"),
        (with(qwen2.clone(), "layer_types", json!(["sliding_attention"])), "layer_types", "sliding_attention"),
        (with(llama(), "layer_types", json!(["sliding_attention"])), "layer_types", "sliding_attention"),
    ] {
        let error = read(&json).unwrap_err();
        assert!(
            matches!(error.kind(), ConfigErrorKind::Unsupported { field: name, .. } if *name == field),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("config.json") && text.contains(found) && text.contains("supported"), "{text}");
    }
    // The same fields with values that change nothing.
    for json in [
        with(qwen2.clone(), "use_sliding_window", json!(true)),
        with(qwen2, "sliding_window", json!(1024)),
        with(llama(), "hidden_act", json!("swish")),
        with(llama(), "partial_rotary_factor", json!(1.0)),
        with(llama(), "quantization_config", Value::Null),
        with(llama(), "sliding_window", json!(16)),
        with(llama(), "architectures", json!(["LlamaModel"])),
        with(llama(), "architectures", json!(["LlamaForSequenceClassification"])),
        with(family("mistral", "MistralForCausalLM"), "sliding_window", json!(131_072)),
    ] {
        read(&json).unwrap();
    }
}

#[test]
fn windows_are_on_the_layers_that_transformers_gives_them() {
    let windows = |json: &Value| read(json).unwrap().windows.into_iter().collect::<Vec<_>>();
    let mistral = family("mistral", "MistralForCausalLM");
    assert_eq!(windows(&mistral), [(0, 4096), (1, 4096)]);
    assert_eq!(windows(&with(mistral.clone(), "sliding_window", json!(1024))), [(0, 1024), (1, 1024)]);
    assert!(windows(&with(mistral.clone(), "sliding_window", Value::Null)).is_empty());
    assert!(windows(&with(mistral, "max_position_embeddings", json!(4096))).is_empty());
    for (name, architecture) in [("qwen2", "Qwen2ForCausalLM"), ("qwen3", "Qwen3ForCausalLM")] {
        let qwen = with(family(name, architecture), "num_hidden_layers", json!(30));
        let used = with(qwen.clone(), "use_sliding_window", json!(true));
        assert!(windows(&with(qwen, "sliding_window", json!(64))).is_empty());
        assert_eq!(windows(&used), [(28, 4096), (29, 4096)]);
        let first = with(with(used.clone(), "sliding_window", json!(64)), "max_window_layers", json!(29));
        assert_eq!(windows(&first), [(29, 64)]);
        let mut types = vec!["full_attention"; 31]; // one more than there are layers
        (types[2], types[30]) = ("sliding_attention", "sliding_attention");
        assert_eq!(windows(&with(first.clone(), "layer_types", json!(types))), [(2, 64)]);
        types.truncate(29);
        let error = read(&with(first, "layer_types", json!(types))).unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Invalid { field: "layer_types", .. }), "{error:?}");
        assert!(windows(&with(used, "sliding_window", Value::Null)).is_empty());
    }
    let mistral = family("mistral", "MistralForCausalLM");
    for (window, refused) in [(json!(0), true), (json!(-1), true), (json!(u64::MAX), false), (json!(1), false)] {
        assert_eq!(read(&with(mistral.clone(), "sliding_window", window.clone())).is_err(), refused, "{window}");
    }
}

#[test]
fn smollm3_has_layers_without_rotation() {
    let smollm3 = with(family("smollm3", "SmolLM3ForCausalLM"), "num_hidden_layers", json!(9));
    let smollm3 = with(smollm3, "vocab_size", json!(128_256));
    let config = read(&smollm3).unwrap();
    assert_eq!(config.unrotated, [3, 7].into());
    assert_eq!((config.n_kv_heads, config.rope.theta, config.tied_embeddings), (4, 2e6, true));
    assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(128_000), [128_001].as_slice()));
    assert!(config.windows.is_empty() && !config.qk_norm);
    let unrotated = |field, value| read(&with(smollm3.clone(), field, value)).map(|config| config.unrotated);
    assert_eq!(unrotated("no_rope_layer_interval", json!(2)).unwrap(), [1, 3, 5, 7].into());
    assert_eq!(unrotated("no_rope_layers", json!([1, 0, 1, 1, 0, 1, 1, 1, 1, 0])).unwrap(), [1, 4].into());
    for (field, value) in [("no_rope_layers", json!([1, 0])), ("no_rope_layer_interval", json!(0))] {
        let error = unrotated(field, value).unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Invalid { field: name, .. } if *name == field), "{error:?}");
    }
    // Windows are on the unrotated layers, if nothing else is said.
    let windowed = with(with(smollm3, "use_sliding_window", json!(true)), "sliding_window", json!(64));
    assert_eq!(read(&windowed).unwrap().windows, [(3, 64), (7, 64)].into());
    let biased = with(with(windowed, "attention_bias", json!(true)), "mlp_bias", json!(true));
    assert_eq!(read(&biased).unwrap().attention_bias, AttentionBias { qkv: true, output: true, mlp: true });
}

#[test]
fn a_configuration_that_no_family_can_express_is_not_written() {
    let llama = read(&llama()).unwrap();
    let qwen3 = read(&family("qwen3", "Qwen3ForCausalLM")).unwrap();
    let several = LlamaConfig { windows: [(0, 16), (1, 17)].into(), ..llama.clone() };
    let unrotated = LlamaConfig { unrotated: [0].into(), ..qwen3 };
    for config in [several, unrotated] {
        config.validate().unwrap();
        let error = config.to_hf_json().unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Unsupported { field: "windows and unrotated", .. }));
    }
    let written = |config: &LlamaConfig| -> Value { serde_json::from_str(&config.to_hf_json().unwrap()).unwrap() };
    assert_eq!(written(&llama)["model_type"], "llama");
    let all = LlamaConfig { windows: (0..30).map(|layer| (layer, 16)).collect(), ..llama.clone() };
    assert_eq!((&written(&all)["model_type"], &written(&all)["sliding_window"]), (&json!("mistral"), &json!(16)));
    let some = LlamaConfig { windows: [(4, 16)].into(), ..llama };
    assert_eq!(written(&some)["model_type"], "smollm3");
    assert_eq!(written(&some)["layer_types"][4], "sliding_attention");
}

#[test]
fn python_writes_what_json_lacks() {
    let text = llama().to_string();
    let text = text.strip_suffix('}').unwrap();
    let good = format!("{text}, \"limits\": [0.0, Infinity, -Infinity], \"note\": \"NaN \\\" Infinity\", \"x\": NaN}}");
    assert_eq!(LlamaConfig::from_hf_json(&good, "x").unwrap(), read(&llama()).unwrap());
    for (field, value) in [("rms_norm_eps", "NaN"), ("rope_theta", "Infinity"), ("vocab_size", "-Infinity")] {
        let error = LlamaConfig::from_hf_json(&format!("{text}, \"{field}\": {value}}}"), "x").unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::WrongType { field: name, .. } if name == field), "{error:?}");
        assert!(error.to_string().contains(value), "{error}");
    }
}

#[test]
fn minus_one_is_no_token() {
    let none = with(with(llama(), "eos_token_id", json!(-1)), "bos_token_id", json!(-1));
    let config = read(&none).unwrap();
    assert_eq!((config.bos_token, config.eos_tokens.len()), (None, 0));
    assert_eq!(read(&with(llama(), "eos_token_id", json!([2, -1]))).unwrap().eos_tokens, [2]);
}

#[test]
fn wrong_types_and_missing_fields_are_named() {
    for (field, value) in [
        ("vocab_size", json!("many")),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(576.0)),
        ("rms_norm_eps", json!("small")),
        ("eos_token_id", json!([1, "x"])),
        ("rope_scaling", json!("linear")),
        ("num_key_value_heads", json!(true)),
        ("layer_types", json!([1])),
    ] {
        let error = read(&with(llama(), field, value)).unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::WrongType { field: name, .. } if name == field), "{error:?}");
    }
    for field in ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"] {
        for json in [without(llama(), field), with(llama(), field, Value::Null)] {
            let error = read(&json).unwrap_err();
            assert!(
                matches!(error.kind(), ConfigErrorKind::MissingField { field: name, .. } if *name == field),
                "{error:?}"
            );
        }
    }
    let neither = without(without(llama(), "model_type"), "architectures");
    assert!(matches!(read(&neither).unwrap_err().kind(), ConfigErrorKind::MissingField { field: "model_type", .. }));
    let untyped = with(llama(), "rope_scaling", json!({"factor": 2.0}));
    assert!(matches!(
        read(&untyped).unwrap_err().kind(),
        ConfigErrorKind::MissingField { field: "rope_scaling.rope_type", .. }
    ));
    for text in ["", "{", "[1]", "3", "{\"vocab_size\": Nan}", "{\"x\": \"NaN}"] {
        let error = LlamaConfig::from_hf_json(text, "config.json").unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Json(_) | ConfigErrorKind::NotAnObject { .. }), "{error:?}");
    }
    let huge = " ".repeat(17 << 20);
    assert!(matches!(LlamaConfig::from_hf_json(&huge, "x").unwrap_err().kind(), ConfigErrorKind::TooLarge { .. }));
    assert!(matches!(LlamaConfig::from_hf_file("nowhere/config.json").unwrap_err().kind(), ConfigErrorKind::Io(_)));
}

#[test]
fn impossible_values_are_refused() {
    for (field, value) in [
        ("vocab_size", json!(0)),
        ("vocab_size", json!(limits::VOCAB_SIZE + 1)),
        ("hidden_size", json!(u64::MAX)),
        ("num_hidden_layers", json!(1_000_000)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(7)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(2)),
        ("num_key_value_heads", json!(18)),
        ("head_dim", json!(63)),
        ("head_dim", json!(0)),
        ("head_dim", json!(u64::MAX - 1)),
        ("max_position_embeddings", json!(0)),
        ("rms_norm_eps", json!(0)),
        ("rms_norm_eps", json!(-1e-5)),
        ("rope_theta", json!(0)),
        ("rope_scaling", json!({"type": "linear", "factor": 0})),
        ("rope_scaling", json!({"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4})),
        ("bos_token_id", json!(49152)),
        ("eos_token_id", json!([2, 49152])),
        ("architectures", json!(["MistralForCausalLM"])),
        ("eos_token_id", json!(-2)),
        ("eos_token_id", json!([-1, 1_u64 << 40])),
        ("bos_token_id", json!(-7)),
    ] {
        let error = read(&with(llama(), field, value.clone())).unwrap_err();
        assert!(matches!(error.kind(), ConfigErrorKind::Invalid { .. }), "{field} {value}: {error:?}");
    }
    let good = read(&llama()).unwrap();
    let divisors = |divisors: Vec<f32>| LlamaConfig {
        rope: RopeConfig { theta: 1e5, scaling: RopeScaling::PerFrequency { divisors } },
        ..good.clone()
    };
    let window = |layer, window| LlamaConfig { windows: [(layer, window)].into(), ..good.clone() };
    for bad in [
        window(0, 0),
        window(0, good.max_positions),
        window(good.n_layers, 16),
        LlamaConfig { unrotated: [good.n_layers].into(), ..good.clone() },
        LlamaConfig { norm_eps: f64::NAN, ..good.clone() },
        LlamaConfig { attention_bias: AttentionBias { output: true, ..AttentionBias::default() }, ..good.clone() },
        LlamaConfig {
            qk_norm: true,
            attention_bias: AttentionBias { mlp: true, ..AttentionBias::default() },
            ..good.clone()
        },
        divisors(vec![1.0; 31]),
        divisors(vec![0.0; 32]),
        divisors(vec![f32::NAN; 32]),
    ] {
        assert!(matches!(bad.validate().unwrap_err().kind(), ConfigErrorKind::Invalid { .. }), "{bad:?}");
        assert!(bad.to_hf_json().is_err());
    }
    let listed = divisors(vec![1.0; 32]);
    listed.validate().unwrap();
    assert!(matches!(
        listed.to_hf_json().unwrap_err().kind(),
        ConfigErrorKind::Unsupported { field: "rope.scaling", .. }
    ));
}

/// Makes numbers that use all digits of an `f64`, with powers of ten from `exponents`.
fn decimal(exponents: std::ops::Range<i32>) -> impl Strategy<Value = f64> {
    (1.0..1e6_f64, exponents).prop_map(|(digits, exponent)| digits * 10.0_f64.powi(exponent))
}

fn scaling() -> impl Strategy<Value = RopeScaling> {
    prop_oneof![
        Just(RopeScaling::None),
        decimal(-4..3).prop_map(|factor| RopeScaling::Linear { factor }),
        (decimal(-4..3), decimal(-6..1), 1_usize..limits::POSITIONS).prop_map(
            |(factor, low_freq_factor, original_max_positions)| RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor: 1e9,
                original_max_positions,
            }
        ),
    ]
}

prop_compose! {
    fn config()(
        sizes in (1_usize..=limits::VOCAB_SIZE, 1_usize..=limits::WIDTH, 1_usize..=limits::WIDTH, 1_usize..=limits::LAYERS),
        heads in (1_usize..64, 1_usize..8, 1_usize..256),
        max_positions in 1_usize..=limits::POSITIONS,
        norm_eps in decimal(-20..-6),
        rope in (decimal(-3..6), scaling()),
        tied_embeddings: bool,
        kind in 0_usize..7,
        special in (vec(any::<bool>(), 0..40), vec(any::<bool>(), 0..40), any::<prop::sample::Index>()),
        tokens in (any::<Option<u32>>(), vec(any::<u32>(), 0..4)),
    ) -> LlamaConfig {
        let (vocab_size, d_model, d_ff, n_layers) = sizes;
        let (n_kv_heads, group, half_head) = heads;
        let token = |id: u32| id % u32::try_from(vocab_size).unwrap();
        let (qk_norm, qkv, output, mlp) = [
            (false, false, false, false), (false, false, false, true), (false, true, true, false),
            (false, true, true, true), (false, true, false, false), (true, false, false, false), (true, true, true, false),
        ][kind];
        let (windowed, unrotated, window) = special;
        let layers = |marks: Vec<bool>| (0..n_layers).zip(marks).filter(|(_, mark)| *mark).map(|(layer, _)| layer);
        let windows = match max_positions {
            1 => BTreeMap::new(), // every window would hide nothing
            _ => layers(windowed).map(|layer| (layer, window.index(max_positions - 1) + 1)).collect(),
        };
        // No family has the blocks of Qwen and layers without rotation.
        let qwen = qk_norm || qkv != output;
        let unrotated = layers(unrotated).filter(|_| !qwen).collect();
        LlamaConfig {
            vocab_size, d_model, d_ff, n_layers, n_heads: n_kv_heads * group, n_kv_heads, head_dim: half_head * 2,
            max_positions, norm_eps, rope: RopeConfig { theta: rope.0, scaling: rope.1 }, tied_embeddings,
            attention_bias: AttentionBias { qkv, output, mlp }, qk_norm, windows, unrotated,
            bos_token: tokens.0.map(token), eos_tokens: tokens.1.into_iter().map(token).collect(),
        }
    }
}

const NAMES: [&str; 7] = ["llama", "qwen3", "smollm3", "sliding_attention", "linear", "llama3", "silu"];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u32..100).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(&NAMES[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((prop_oneof![Just("rope_type"), Just("factor"), Just("rope_theta"), Just("x")], inner), 0..4).prop_map(
                |fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            ),
        ]
    })
}

const FIELDS: [&str; 32] = [
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "attention_bias",
    "mlp_bias",
    "tie_word_embeddings",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "layer_types",
    "no_rope_layers",
    "no_rope_layer_interval",
    "bos_token_id",
    "eos_token_id",
    "quantization_config",
    "num_local_experts",
    "num_experts",
    "unknown",
];

/// Checks that an accepted configuration is valid, and can be written and read again.
fn sane(text: &str) -> Result<(), TestCaseError> {
    if let Ok(config) = LlamaConfig::from_hf_json(text, "config.json") {
        prop_assert!(config.validate().is_ok());
        prop_assert!(config.d_model <= limits::WIDTH && config.n_heads * config.head_dim <= limits::WIDTH);
        prop_assert!(LlamaConfig::from_hf_json(&config.to_hf_json().unwrap(), "again").is_ok());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_written_configuration_reads_back_equal(config in config()) {
        config.validate().unwrap();
        let text = config.to_hf_json().unwrap();
        prop_assert_eq!(&LlamaConfig::from_hf_json(&text, "written").unwrap(), &config);
        let own = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<LlamaConfig>(&own).unwrap(), config);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn changed_fields_are_errors_or_sane(changes in vec((prop::sample::select(&FIELDS[..]), any_json()), 1..4)) {
        let mut json = llama();
        for (field, value) in changes {
            json[field] = value;
        }
        sane(&json.to_string())?;
    }

    #[test]
    fn broken_text_is_an_error_or_sane(at: prop::sample::Index, bit in 0..8, cut: Option<prop::sample::Index>) {
        let mut bytes = llama().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        sane(&String::from_utf8_lossy(&bytes))?;
    }
}
