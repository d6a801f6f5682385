//! Tests that matrices kept as blocks are those of a load as `f32`, and of what happens where they cannot be kept.

use super::*;
use crate::format::{GgmlType, GgufValue};
use crate::gguf_writer::GgufWriter;
use crate::load::SaveError;
use crate::matrix::{Blocks, Matrix};
use crate::small_gguf::SmallGguf;
use burn::tensor::{DType, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use std::fs;

/// All types, the quantised ones in the middle.
fn types() -> impl Iterator<Item = GgmlType> {
    (0..64).filter_map(GgmlType::from_id)
}

/// The types of the matrices of [`file`], in the order of [`matrices`]: all there are.
fn kinds() -> impl Iterator<Item = GgmlType> {
    types().chain(types()).skip(2)
}

/// Whole blocks whose factors are finite and small.
fn bytes(ty: GgmlType, elements: usize, first: u32) -> Vec<u8> {
    let n = u32::try_from(elements / ty.block_size() * ty.block_bytes()).unwrap();
    (0..n).map(|i| u8::try_from(((i + first).wrapping_mul(2_654_435_761) >> 16) % 52).unwrap()).collect()
}

/// Opens a GGUF file of a Llama of two layers and width 256, with a change of the bytes of its matrices.
fn file(change: impl Fn(&str, &mut Vec<u8>)) -> Checkpoint {
    let mut small = SmallGguf::new("llama");
    small.set("llama.embedding_length", GgufValue::U32(256));
    small.set("llama.feed_forward_length", GgufValue::U32(256));
    let mut writer = GgufWriter::new();
    for (key, value) in &small.pairs {
        writer = writer.pair(key.clone(), value.clone());
    }
    let mut kinds = kinds();
    for (first, (name, shape, _)) in (0_u32..).zip(&small.tensors) {
        let wide = |n: &usize| match *n {
            8 | 16 => 256,
            4 => 128, // keys and values
            other => other,
        };
        let shape: Vec<usize> = shape.iter().map(wide).collect();
        let elements: usize = shape.iter().product();
        if shape.len() == 1 {
            writer = writer.tensor_f32(name.clone(), shape, &vec![1.0; elements]);
        } else {
            let ty = kinds.next().unwrap();
            let mut bytes = bytes(ty, elements, 10_000 * first);
            change(name, &mut bytes);
            writer = writer.tensor(name.clone(), shape, ty, bytes);
        }
    }
    Checkpoint::from_gguf_bytes(writer.to_bytes()).unwrap()
}

fn plain() -> Checkpoint {
    file(|_, _| {})
}

fn load(checkpoint: &Checkpoint, dtype: WeightDtype) -> Llama {
    checkpoint.load(dtype, &Device::flex(), |_| {}).unwrap()
}

/// The matrices of a model, in the order of the file, with their names in a Hugging Face checkpoint.
fn matrices(model: &Llama) -> Vec<(String, &Matrix)> {
    let mut all = vec![("model.embed_tokens.weight".to_owned(), &model.embed_tokens)];
    for (layer, block) in model.layers().iter().enumerate() {
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        for (name, map) in [
            ("self_attn.q_proj", &attention.q_proj),
            ("self_attn.k_proj", &attention.k_proj),
            ("self_attn.v_proj", &attention.v_proj),
            ("self_attn.o_proj", &attention.o_proj),
            ("mlp.gate_proj", &mlp.gate_proj),
            ("mlp.up_proj", &mlp.up_proj),
            ("mlp.down_proj", &mlp.down_proj),
        ] {
            all.push((format!("model.layers.{layer}.{name}.weight"), &map.weight));
        }
    }
    all
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().try_into_vec_as::<f32>().unwrap()
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    values(tensor).into_iter().map(f32::to_bits).collect()
}

#[test]
fn stored_matrices_equal_those_of_f32_bit_for_bit() {
    let checkpoint = plain();
    assert!(checkpoint.is_quantised());
    assert!(checkpoint.load_warnings(WeightDtype::Stored, &Device::flex()).is_empty());
    let mut steps = Vec::new();
    let stored = checkpoint.load(WeightDtype::Stored, &Device::flex(), |p| steps.push((p.done, p.total))).unwrap();
    let ((first, total), (last, _)) = (steps[0], steps[steps.len() - 1]);
    assert_eq!((first, last, steps.len()), (0, total, 1 + 15 + 5));

    // The rows of queries and keys, which the file has in another order, are put back in both.
    let (wide, all) = (load(&checkpoint, WeightDtype::F32), matrices(&stored));
    assert_eq!(all.len(), 15);
    for (((name, kept), (_, wide)), ty) in all.iter().zip(matrices(&wide)).zip(kinds()) {
        match kept {
            Matrix::Quantised(blocks) => assert_eq!(blocks.ty(), ty, "{name}"),
            Matrix::Dense(tensor) => {
                let expected = if ty == GgmlType::F16 { DType::F16 } else { DType::F32 };
                assert!(ty.block_size() == 1 && tensor.val().dtype() == expected, "{name}");
            }
        }
        assert_eq!(kept.dims(), wide.dims(), "{name}");
        assert_eq!(bits(kept.tensor()), bits(wide.tensor()), "{name}");
    }
    let tokens = [5, 0, 3, 3];
    assert_eq!(bits(stored.embed(stored.tokens(&[&tokens]))), bits(wide.embed(wide.tokens(&[&tokens]))));
    assert_eq!(stored.weights_digest(), load(&checkpoint, WeightDtype::Stored).weights_digest());
    assert_ne!(stored.weights_digest(), wide.weights_digest());
    let memory = |model: &Llama| matrices(model).into_iter().map(|(_, matrix)| matrix.bytes()).sum::<usize>();
    assert!(memory(&stored) < memory(&wide) / 3, "{} of {}", memory(&stored), memory(&wide));
}

#[test]
fn a_model_of_blocks_is_saved_dequantised() {
    let (stored, folder) = (load(&plain(), WeightDtype::Stored), tempfile::tempdir().unwrap());
    for dtype in [WeightDtype::Stored, WeightDtype::Q8] {
        let error = stored.save(folder.path(), dtype).unwrap_err();
        assert!(matches!(error, SaveError::Dtype { dtype: found } if found == dtype));
        assert_eq!(
            error.to_string(),
            format!("a model cannot be saved as {dtype}; types that can be saved are f32 and f16")
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
    stored.save(folder.path(), WeightDtype::F32).unwrap();
    let saved = Checkpoint::open(folder.path()).unwrap();
    assert!(!saved.is_quantised());
    // As the folder has f32, `stored` is f32.
    for back in [load(&saved, WeightDtype::F32), load(&saved, WeightDtype::Stored)] {
        for ((name, kept), (_, back)) in matrices(&stored).into_iter().zip(matrices(&back)) {
            assert!(matches!(back, Matrix::Dense(tensor) if tensor.val().dtype() == DType::F32), "{name}");
            assert_eq!(bits(kept.tensor()), bits(back.tensor()), "{name}");
        }
    }
}

#[test]
fn a_folder_of_16_bits_is_kept_as_it_is_or_widened_exactly() {
    let folder = tempfile::tempdir().unwrap();
    load(&plain(), WeightDtype::F16).save(folder.path(), WeightDtype::F16).unwrap();
    let halves = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(load(&halves, WeightDtype::Stored).weights_digest(), load(&halves, WeightDtype::F16).weights_digest());
    let Matrix::Dense(embedding) = load(&halves, WeightDtype::Stored).embed_tokens else { panic!("blocks") };
    assert_eq!(embedding.val().dtype(), DType::F16);
}

#[test]
fn q8_quantises_every_matrix_but_those_that_have_its_blocks() {
    let checkpoint = plain();
    assert!(checkpoint.load_warnings(WeightDtype::Q8, &Device::flex()).is_empty());
    let (q8, wide) = (load(&checkpoint, WeightDtype::Q8), load(&checkpoint, WeightDtype::F32));
    let stored = load(&checkpoint, WeightDtype::Stored);
    let all = matrices(&q8).into_iter().zip(matrices(&wide)).zip(matrices(&stored)).zip(kinds());
    for ((((name, q8), (_, wide)), (_, stored)), ty) in all {
        let Matrix::Quantised(found) = q8 else { panic!("{name} is a tensor") };
        assert_eq!(found.ty(), GgmlType::Q8_0);
        let expected = match stored {
            Matrix::Quantised(stored) if ty == GgmlType::Q8_0 => stored.clone(),
            _ => Blocks::quantise(&values(wide.tensor()), wide.dims(), &Device::flex()).unwrap(),
        };
        assert_eq!(found.bytes().into_data().as_bytes(), expected.bytes().into_data().as_bytes(), "{name}");
    }
}

#[test]
fn rows_that_are_not_whole_blocks_are_kept_in_f16() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("narrow.gguf");
    SmallGguf::new("llama").write(&path); // 8 wide
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert!(!checkpoint.is_quantised());
    assert_eq!(
        load(&checkpoint, WeightDtype::Q8).weights_digest(),
        load(&checkpoint, WeightDtype::F16).weights_digest()
    );
    assert_eq!(
        load(&checkpoint, WeightDtype::Stored).weights_digest(),
        load(&checkpoint, WeightDtype::F32).weights_digest()
    );
    let config = checkpoint.config();
    let random = |dtype| config.init(1, dtype, &Device::flex()).unwrap().weights_digest();
    assert_eq!(random(WeightDtype::Q8), random(WeightDtype::F16));
    assert_eq!(random(WeightDtype::Stored), random(WeightDtype::F32));
}

#[test]
fn random_weights_are_quantised() {
    let config = plain().config().clone();
    let [q8, wide] = [WeightDtype::Q8, WeightDtype::F32].map(|dtype| config.init(1, dtype, &Device::flex()).unwrap());
    for ((name, q8), (_, wide)) in matrices(&q8).into_iter().zip(matrices(&wide)) {
        let Matrix::Quantised(found) = q8 else { panic!("{name} is a tensor") };
        let expected = Blocks::quantise(&values(wide.tensor()), wide.dims(), &Device::flex()).unwrap();
        assert_eq!(bits(found.tensor()), bits(expected.tensor()), "{name}");
    }
}

#[test]
fn matrices_that_an_adapter_changes_are_widened_with_a_warning() {
    const QUERY: &str = "model.layers.0.self_attn.q_proj.weight";
    let folder = tempfile::tempdir().unwrap();
    let description = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["q_proj"]}"#;
    fs::write(folder.path().join("adapter_config.json"), description).unwrap();
    let factor: Vec<u8> = (0..256_u16).flat_map(|i| (f32::from(i % 7) - 3.0).to_le_bytes()).collect();
    let view = |shape: [usize; 2]| TensorView::new(Dtype::F32, shape.to_vec(), &factor).unwrap();
    let name = |factor: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{factor}.weight");
    let views = [(name("lora_A"), view([1, 256])), (name("lora_B"), view([256, 1]))];
    fs::write(folder.path().join("adapter_model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();

    let (base, adapted) = (plain(), plain().with_adapter(folder.path()).unwrap());
    let warnings = adapted.load_warnings(WeightDtype::Stored, &Device::flex());
    assert_eq!(warnings, [Warning::AdaptedBlocks { tensors: vec![QUERY.to_owned()] }]);
    assert!(warnings[0].to_string().contains(QUERY));
    for dtype in [WeightDtype::F32, WeightDtype::F16, WeightDtype::Q8] {
        assert!(adapted.load_warnings(dtype, &Device::flex()).is_empty(), "{dtype}");
    }

    let (stored, halves) = (load(&adapted, WeightDtype::Stored), load(&adapted, WeightDtype::F16));
    let without = load(&base, WeightDtype::Stored);
    let all = matrices(&stored).into_iter().zip(matrices(&halves)).zip(matrices(&without));
    for (((name, stored), (_, halves)), (_, without)) in all {
        if name == QUERY {
            assert!(matches!(stored, Matrix::Dense(tensor) if tensor.val().dtype() == DType::F16));
            assert_eq!(bits(stored.tensor()), bits(halves.tensor()));
            assert_ne!(bits(stored.tensor()), bits(without.tensor()));
        } else {
            assert_eq!(bits(stored.tensor()), bits(without.tensor()), "{name}");
        }
    }
    // Merged in f32, then quantised.
    let (q8, wide) = (load(&adapted, WeightDtype::Q8), load(&adapted, WeightDtype::F32));
    let (q8, wide) = (&q8.layers()[0].self_attn.q_proj.weight, &wide.layers()[0].self_attn.q_proj.weight);
    let expected = Blocks::quantise(&values(wide.tensor()), wide.dims(), &Device::flex()).unwrap();
    assert_eq!(bits(q8.tensor()), bits(expected.tensor()));
}

#[test]
fn scales_that_are_not_finite_are_refused_by_name() {
    // A Q3_K, whose factor ends the block, and a Q4_1, whose second factor is the minimum.
    for (name, at, known, count) in [
        ("blk.0.ffn_up.weight", 2 * 110 + 108, "model.layers.0.mlp.up_proj.weight", 256),
        ("blk.0.attn_q.weight", 20 + 2, "model.layers.0.self_attn.q_proj.weight", 32),
    ] {
        for broken in [f16::INFINITY, f16::NEG_INFINITY, f16::NAN] {
            let checkpoint = file(|tensor, bytes| {
                if tensor == name {
                    bytes[at..at + 2].copy_from_slice(&broken.to_le_bytes());
                }
            });
            for dtype in [WeightDtype::Stored, WeightDtype::Q8, WeightDtype::F32] {
                let error = checkpoint.load(dtype, &Device::flex(), |_| {}).map(|_| ()).unwrap_err().to_string();
                let expected = format!("tensor {known} holds {count} values that are not finite");
                assert!(error.contains(&expected), "{dtype}: {error}");
            }
        }
    }
}

#[test]
fn values_that_do_not_fit_q8_are_refused_by_name() {
    // The last layer's second matrix of the MLP is stored as f32.
    let checkpoint = file(|tensor, bytes| {
        if tensor == "blk.1.ffn_up.weight" {
            bytes[40..44].copy_from_slice(&1e9_f32.to_le_bytes());
        }
    });
    let error = checkpoint.load(WeightDtype::Q8, &Device::flex(), |_| {}).map(|_| ()).unwrap_err().to_string();
    let expected = "tensor model.layers.1.mlp.up_proj.weight holds 1 values that do not fit q8; load as f32";
    assert!(error.contains(expected), "{error}");
    load(&checkpoint, WeightDtype::Stored);
}

#[cfg(feature = "ndarray")]
#[test]
#[expect(deprecated, reason = "a device without kernels for blocks")]
fn a_device_without_kernels_gets_f32_with_a_warning() {
    let (checkpoint, device) = (plain(), Device::ndarray());
    for (dtype, matrices) in [(WeightDtype::Stored, 12), (WeightDtype::Q8, 15)] {
        let warnings = checkpoint.load_warnings(dtype, &device);
        assert!(
            matches!(&warnings[..], [Warning::NoBlockKernels { matrices: n, .. }] if *n == matrices),
            "{warnings:?}"
        );
    }
    let (found, expected) =
        (checkpoint.load(WeightDtype::Stored, &device, |_| {}), load(&checkpoint, WeightDtype::F32));
    for ((name, found), (_, expected)) in matrices(&found.unwrap()).into_iter().zip(matrices(&expected)) {
        assert!(matches!(found, Matrix::Dense(_)), "{name}");
        assert_eq!(bits(found.tensor()), bits(expected.tensor()), "{name}");
    }
}
