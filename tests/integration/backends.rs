//! Backends by name, and the agreement of their results.

use dynlayer::model::{Backend, DeviceError, DeviceSpec};

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
