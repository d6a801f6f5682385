//! LoRA adapters against the `peft` package, whose files and logits `tests/reference/adapters.py` made.

use crate::checkpoints::{tensors, write_gguf};
use crate::support::{assert_close_to, device, rows, some};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, Resources};
use dynlayer::inference::{DraftLength, GenerateOptions, Speculation, generate};
use dynlayer::model::{Adapter, AdapterOptions, Checkpoint, Llama, LoadError, Warning, WeightDtype};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

const PROMPT: [u32; 6] = [3, 1, 4, 1, 5, 9];

/// The adapters that `peft` saved.
const ADAPTERS: [&str; 8] =
    ["plain", "rank_stabilised", "patterns", "layers", "layers_pattern", "expression", "embeddings", "half"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/fixtures/adapters").join(name)
}

fn base() -> Checkpoint {
    Checkpoint::open(fixture("base")).unwrap()
}

fn load(checkpoint: &Checkpoint) -> Llama {
    checkpoint.load(WeightDtype::F32, &device(), |_| {}).unwrap()
}

fn logits(model: &Llama) -> Vec<Vec<f32>> {
    let mut cache = model.cache(1, PROMPT.len());
    let frame = model.frame(&cache, &[0], &[(0..PROMPT.len()).collect()]);
    rows(model.logits(model.forward(model.tokens(&[&PROMPT]), &frame, &mut cache)))
}

/// Returns the logits of `peft` and transformers for a name, a row for each token.
fn expected(name: &str) -> Vec<Vec<f32>> {
    let file = fs::read(fixture("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values: Vec<f32> = tensor.data().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
    values.chunks_exact(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
}

#[test]
fn adapters_are_merged_as_peft_merges_them() {
    assert_close_to(&logits(&load(&base())), &expected("base"), 1e-4);
    for name in ADAPTERS {
        let checkpoint = base().with_adapter(fixture(name)).unwrap();
        assert!(checkpoint.warnings().is_empty(), "{name}: {:?}", checkpoint.warnings());
        let found = logits(&load(&checkpoint));
        println!("{name}"); // shown if the next line fails
        assert_close_to(&found, &expected(name), 1e-4);
    }
}

#[test]
fn adapters_add_up_in_any_order() {
    for names in [["plain", "rank_stabilised"], ["rank_stabilised", "plain"]] {
        let checkpoint = names.iter().try_fold(base(), |checkpoint, name| checkpoint.with_adapter(fixture(name)));
        assert_close_to(&logits(&load(&checkpoint.unwrap())), &expected("plain+rank_stabilised"), 1e-4);
    }
}

/// The rows of queries and keys are in another order in the file; the adapter is for Hugging Face's order.
#[test]
fn adapters_of_a_gguf_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.gguf");
    write_gguf(&load(&base()), &path);
    for name in ADAPTERS {
        let checkpoint = Checkpoint::open(&path).unwrap().with_adapter(fixture(name)).unwrap();
        assert_close_to(&logits(&load(&checkpoint)), &expected(name), 1e-4);
    }
}

/// The sum is rounded once: as `f16`, the merged model is the merged `f32` model, rounded.
#[test]
fn sums_are_made_before_narrowing() {
    if crate::support::lacks_f16() {
        return;
    }
    let checkpoint = base().with_adapter(fixture("rank_stabilised")).unwrap();
    let (wide, halves) = (load(&checkpoint), checkpoint.load(WeightDtype::F16, &device(), |_| {}).unwrap());
    let halves = tensors(&halves);
    for (name, (shape, values)) in tensors(&wide) {
        let rounded = |x: f32| if shape.len() == 2 { half::f16::from_f32(x).to_f32() } else { x };
        let expected: Vec<f32> = values.into_iter().map(rounded).collect();
        assert_eq!(halves[&name].1, expected, "{name}");
    }
}

/// A merged model is saved and read like any other.
#[test]
fn merged_models_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let merged = load(&base().with_adapter(fixture("embeddings")).unwrap());
    merged.save(folder.path(), WeightDtype::F32).unwrap();
    let read = load(&Checkpoint::open(folder.path()).unwrap());
    assert_eq!(logits(&read), logits(&merged));
}

#[test]
fn factors_of_zeros_give_the_base_model_bit_for_bit() {
    if crate::support::lacks_f16() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("rank_stabilised/adapter_config.json"), folder.path().join("adapter_config.json")).unwrap();
    let file = fs::read(fixture("rank_stabilised/adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let zeros = vec![0; 1 << 12];
    let views = file.iter().map(|(name, view)| {
        let bytes = if name.contains("lora_B") { &zeros[..view.data().len()] } else { view.data() };
        (name.to_owned(), safetensors::tensor::TensorView::new(view.dtype(), view.shape().to_vec(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("adapter_model.safetensors")).unwrap();
    for dtype in [WeightDtype::F32, WeightDtype::F16] {
        let adapted = base().with_adapter(folder.path()).unwrap().load(dtype, &device(), |_| {}).unwrap();
        let unchanged = base().load(dtype, &device(), |_| {}).unwrap();
        let bits = |model: &Llama| -> Vec<_> {
            let values = tensors(model).into_values().flat_map(|(_, values)| values);
            values.map(f32::to_bits).collect()
        };
        assert_eq!(bits(&adapted), bits(&unchanged));
    }
}

/// As `peft` does, with the difference that it says so.
#[test]
fn tensors_of_layers_that_are_not_transformed_are_ignored_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let description = fs::read_to_string(fixture("plain/adapter_config.json")).unwrap();
    let description = description.replace(r#""layers_to_transform": null"#, r#""layers_to_transform": [0]"#);
    fs::write(folder.path().join("adapter_config.json"), description).unwrap();
    let weights = "adapter_model.safetensors";
    fs::copy(fixture("plain").join(weights), folder.path().join(weights)).unwrap();
    let checkpoint = base().with_adapter(folder.path()).unwrap();
    let [Warning::NotTransformed { tensors: ignored }] = checkpoint.warnings() else {
        panic!("{:?}", checkpoint.warnings());
    };
    assert!(ignored.len() == 4 && ignored.iter().all(|name| name.contains("layers.1.")), "{ignored:?}");
    let (found, base) = (tensors(&load(&checkpoint)), tensors(&load(&base())));
    let changed: Vec<_> = found.iter().filter(|(name, values)| base[*name] != **values).map(|(name, _)| name).collect();
    assert_eq!(changed, ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"]);
}

#[test]
fn adapters_that_are_more_than_a_product_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for file in fs::read_dir(fixture("refused")).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.path().join("adapter_config.json")).unwrap();
        let error = base().with_adapter(folder.path()).unwrap_err();
        let LoadError::AdapterField { field, .. } = &error else { panic!("{}: {error}", file.display()) };
        let expected = match file.file_stem().and_then(|name| name.to_str()).unwrap() {
            "dora" => "use_dora",
            "trained_tokens" => "trainable_token_indices",
            "invocation" => "alora_invocation_tokens",
            "replicated" => "layer_replication",
            "pissa" | "olora" => "init_lora_weights",
            "loha" | "ia3" | "prefix" => "peft_type",
            same => same,
        };
        assert_eq!(field, expected, "{}", file.display());
        assert!(error.to_string().contains("peft"), "{error}");
        count += 1;
    }
    assert_eq!(count, 12);
}

/// The adapters of `peft` that change only maps of layers.
fn beside() -> impl Iterator<Item = &'static str> {
    ADAPTERS.into_iter().filter(|name| !["embeddings", "expression"].contains(name))
}

#[test]
fn adapters_beside_the_weights_compute_what_merged_ones_do() {
    let model = load(&base());
    for name in beside() {
        let adapted = model.adapted(&Adapter::open(fixture(name), &model).unwrap()).unwrap();
        println!("{name}"); // shown if a line fails
        assert_close_to(&logits(&adapted), &expected(name), 1e-4);
        // The sums are the same up to the order of their terms.
        assert_close_to(&logits(&adapted.merged()), &logits(&adapted), 1e-5);
        assert_eq!(logits(&adapted.without_adapter()), logits(&model), "{name}");
    }
}

/// Every way to run a pass with an adapter: one token and several, with a cache and without, in kernels and in tensor
/// operations, in all types of weights.
#[test]
fn adapters_in_every_pass() {
    let config = crate::support::config(crate::support::SMALL);
    for dtype in [WeightDtype::F32, WeightDtype::F16, WeightDtype::Q8] {
        if dtype != WeightDtype::F32 && crate::support::lacks_f16() {
            continue;
        }
        let model = config.init(5, dtype, &device()).unwrap();
        let adapted = model.adapted(&trained(&model)).unwrap();
        let tokens: Vec<u32> = (0..17).map(|i| i * 5 % 97).collect();
        let frame = adapted.uncached_frame(&[(0..17).collect()], &[0]);
        // Without a cache the attention is burn's, and the sublayers are tensor operations.
        let mut hidden = adapted.embed(adapted.tokens(&[&tokens]));
        let mut cache = adapted.cache(1, 17);
        for (layer, block) in adapted.layers().iter().enumerate() {
            hidden = block.forward(hidden, &frame, cache.layer_mut(layer));
        }
        let whole = rows(adapted.logits(hidden));
        let mut cache = adapted.cache(1, 17);
        let mut found = Vec::new();
        for part in [&tokens[..9], &tokens[9..10], &tokens[10..11], &tokens[11..]] {
            let first = found.len();
            let frame = adapted.frame(&cache, &[0], &[(first..first + part.len()).collect()]);
            found.extend(rows(adapted.logits(adapted.forward(adapted.tokens(&[part]), &frame, &mut cache))));
        }
        // Quantised weights round the inputs, which differ in their last bits.
        let tolerance = if dtype == WeightDtype::Q8 { 0.05 } else { 2e-4 };
        assert_close_to(&found, &whole, tolerance);
        assert_ne!(found[0], rows(model.logits(model.embed(model.tokens(&[&tokens[..1]]))))[0]);
    }
}

/// An adapter with other factors than those that a new one has.
fn trained(model: &Llama) -> Adapter {
    struct Random(u32);
    impl ModuleMapper for Random {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let shape = tensor.dims();
                let n: usize = shape.iter().product();
                let next = |_| {
                    self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f32::from(u8::try_from(self.0 >> 24).unwrap()) / 640.0 - 0.2
                };
                Tensor::from_data(TensorData::new((0..n).map(next).collect::<Vec<f32>>(), shape), &tensor.device())
            })
        }
    }
    let options = AdapterOptions { rank: 3, alpha: 4.5, ..AdapterOptions::default() };
    Adapter::new(model, &options).unwrap().map(&mut Random(1))
}

#[test]
fn adapters_are_written_as_peft_reads_them() {
    let model = load(&base());
    for name in beside() {
        let adapter = Adapter::open(fixture(name), &model).unwrap();
        let folder = tempfile::tempdir().unwrap();
        adapter.save(folder.path(), "a base", WeightDtype::F32).unwrap();
        let back = Adapter::open(folder.path(), &model).unwrap();
        assert_eq!(back.names(), adapter.names(), "{name}");
        assert_eq!(logits(&model.adapted(&back).unwrap()), logits(&model.adapted(&adapter).unwrap()), "{name}");
        // Names, as `peft` writes them, and the same through the other reader.
        let file = fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        assert!(file.names().iter().all(|name| name.starts_with("base_model.model.model.layers.")));
        let merged = load(&base().with_adapter(folder.path()).unwrap());
        assert_close_to(&logits(&merged), &expected(name), 1e-4);
    }
}

#[test]
fn adapters_of_more_than_layers_can_only_be_merged() {
    let model = load(&base());
    let error = Adapter::open(fixture("embeddings"), &model).unwrap_err().to_string();
    assert!(error.contains("merge it instead"), "{error}");
}

/// The output of speculation is the text of the model without its adapter, whatever the adapter is.
#[test]
fn adapters_draft_for_the_model_without_them() {
    let model = crate::support::small(&device());
    let prompts = vec![vec![3, 14, 15], vec![9, 26, 5, 35, 8]];
    let plain = GenerateOptions { max_new_tokens: 24, ..GenerateOptions::default() };
    let (expected, _) = generate(&model, FullDepth, &prompts, plain.clone()).unwrap().finish().unwrap();
    let adapted = model.adapted(&trained(&model)).unwrap();
    let (other, _) = generate(&adapted, FullDepth, &prompts, plain.clone()).unwrap().finish().unwrap();
    assert_ne!(other, expected, "the adapter changes texts by itself");
    for (length, share_layers) in some([(4, true), (1, true), (4, false)], 1) {
        let speculation = Speculation { length: DraftLength::Fixed(length), share_layers, ..Speculation::default() };
        for drafter in some(["exit:2", "confidence:0.1", "uniform:3", "full"], 2) {
            let options = GenerateOptions { speculation: Some(speculation), ..plain.clone() };
            let drafter = drafter.parse::<ControllerSpec>().unwrap().build(&adapted, &Resources::new()).unwrap();
            let (found, report) = generate(&adapted, drafter, &prompts, options).unwrap().finish().unwrap();
            assert_eq!(found, expected);
            assert!(report.speculation.unwrap().drafted > 0);
        }
    }
}
