//! Backends by name, and the agreement of their results.

use crate::support::{cases, device, on_flex};
use burn::tensor::{Tensor, TensorData};
use dynlayer::model::{Backend, DeviceError, DeviceSpec, largest_in_rows};
use proptest::prelude::*;

/// A number of a row: one of few values, so that some are equal, and rarely one that is not finite.
fn number() -> impl Strategy<Value = f32> {
    let few = (-3..4_i8).prop_map(f32::from);
    let odd = prop::sample::select(vec![-0.0, f32::NEG_INFINITY, f32::MIN, f32::MAX, f32::INFINITY, f32::NAN]);
    prop_oneof![500 => few, 500 => -1e3f32..1e3, 1 => odd]
}

fn rows_of_numbers() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1..6_usize, 1..1200_usize)
        .prop_flat_map(|(rows, width)| prop::collection::vec(prop::collection::vec(number(), width), rows))
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_gpu_finds_the_largest_number_of_each_row(rows in rows_of_numbers()) {
        let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
        let found = largest_in_rows(&Tensor::from_data(data, &device()));
        if on_flex() {
            prop_assert!(found.is_none());
            return Ok(());
        }
        let found = found.unwrap().into_data().try_into_vec_as::<f32>().unwrap();
        let expected = rows.iter().map(|row| {
            let mut largest = None;
            for (index, x) in row.iter().enumerate() {
                if x.is_nan() || *x == f32::INFINITY {
                    return -1.0;
                }
                if *x > f32::MIN && largest.is_none_or(|largest: usize| *x > row[largest]) {
                    largest = Some(index);
                }
            }
            largest.map_or(-1.0, |index| index as f32)
        });
        prop_assert_eq!(found, expected.collect::<Vec<f32>>());
    }
}

#[test]
fn names_that_are_no_backend() {
    let error = "tpu".parse::<Backend>().unwrap_err();
    let known = "known are flex, ndarray, cuda, wgpu, and a number after them, as in cuda:1";
    assert_eq!(error.to_string(), format!("unknown device \"tpu\"; {known}"));
    for name in ["tpu:0", "cuda:", "cuda:-1", "cuda:x", "", ":0"] {
        let error = name.parse::<DeviceSpec>().unwrap_err();
        assert!(error.to_string().starts_with("unknown device"), "{error}");
    }
}

#[test]
fn names_with_a_number() {
    for name in ["flex", "cuda", "wgpu:0", "cuda:7"] {
        assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
    }
    assert!("flex:0".parse::<DeviceSpec>().unwrap().open().is_ok());
    let error = "flex:1".parse::<DeviceSpec>().unwrap().open().unwrap_err();
    assert_eq!(error.to_string(), "there is no device flex:1; 1 found, and the first is flex:0");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_backend_that_is_not_built_in() {
    let error = Backend::Cuda.device().unwrap_err();
    assert_eq!(error, DeviceError::NotBuilt { backend: Backend::Cuda });
    assert!(error.to_string().contains("build with --features cuda"));
}

#[test]
#[cfg(feature = "cuda")]
fn cuda_without_a_driver_is_an_error_and_no_panic() {
    match Backend::Cuda.device() {
        Ok(_) => println!("SKIPPED: there is a CUDA driver"),
        Err(error) => assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}"),
    }
}

#[cfg(feature = "ndarray")]
mod ndarray {
    use crate::support::{SMALL, assert_close_to, config, skipped, small};
    use burn::tensor::Device;
    use dynlayer::inference::{Action, ScoreOptions};
    use dynlayer::model::{Backend, WeightDtype};

    /// Compares the tensor operations that every backend can run, on ndarray, with flex's kernels, to 1e-4 absolute.
    #[test]
    fn ndarray_gives_the_same_logits() {
        let routes = vec![
            vec![Action::Run, Action::Skip, Action::SkipMlp, Action::Run, Action::SkipAttention],
            vec![Action::Run, Action::Run, Action::Run, Action::Exit, Action::Run],
        ];
        let logits = |device: &Device| {
            skipped(&small(device), &routes, &[1, 2, 3, 4, 5, 6], &[7, 8, 9, 10], &ScoreOptions::default())
        };
        let (flex, ndarray) = (logits(&Device::flex()), logits(&Backend::NdArray.device().unwrap()));
        let largest = flex.iter().flatten().fold(0f32, |m, x| m.max(x.abs()));
        assert_close_to(&ndarray, &flex, 1e-4 / largest);
    }

    #[test]
    fn ndarray_refuses_f16() {
        let folder = tempfile::tempdir().unwrap();
        let model = config(SMALL).init(1, WeightDtype::F32, &Device::flex()).unwrap();
        crate::checkpoints::write_folder(&model, folder.path());
        let checkpoint = dynlayer::model::Checkpoint::open(folder.path()).unwrap();
        let error =
            checkpoint.load(WeightDtype::F16, &Backend::NdArray.device().unwrap(), |_| {}).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("does not support weights of type f16"), "{error}");
    }
}
