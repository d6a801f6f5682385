//! Tests of the trainer: interrupted trainings, folders and checkpoints.

use super::super::tests::{config, item, model, weights};
use super::super::{
    ExitLoss, LayerDropout, PassOptions, StepLoss, StepPart, StepReport, Trainer, TrainerOptions, TrainingBatch,
    TrainingError, TrainingItem, checkpoint, pass,
};
use crate::files::FileError;
use burn::module::Module;
use burn::tensor::Device;
use dynlayer_model::Llama;
use dynlayer_model::config::LlamaConfig;
use rand::{Rng, SeedableRng};
use std::path::Path;

const STEPS: u64 = 9;

fn options() -> TrainerOptions {
    TrainerOptions { checkpoint_every: 2, accumulation: 2, ..TrainerOptions::new(STEPS, 1e-2) }
}

/// A loss whose data and noise derive from the step and its part alone.
fn loss(model: &Llama, StepPart { step, part }: StepPart) -> Result<StepLoss, TrainingError> {
    let items: Vec<TrainingItem> = (0..3)
        .map(|i| {
            let id = (step * 2 + part) * 3 + i;
            let token = |k: u64| u32::try_from((id * 7 + k * 5) % 30).unwrap();
            item(id, &[token(0), token(1), token(2)], &[token(3), token(4)])
        })
        .collect();
    let batch = TrainingBatch::new(model, items)?;
    let mut dropout = LayerDropout { max: 0.5, curriculum: Some(STEPS), seed: 1, step };
    let pass = pass(model, &mut dropout, &batch, PassOptions { keep_states: true, ..PassOptions::default() })?;
    let (loss, parts) = ExitLoss { scale: 0.5, rotation: 2 }.loss(model, &pass, &batch, step)?;
    Ok(StepLoss { loss, metrics: vec![("exits".into(), parts.len() as f64)] })
}

fn start(folder: &Path) -> Result<Trainer<Llama>, TrainingError> {
    Trainer::in_folder(folder, "a test", model(&Device::flex().autodiff()), options())
}

/// The log without times.
fn log(folder: &Path) -> Vec<StepReport> {
    let text = std::fs::read_to_string(folder.join("steps.jsonl")).unwrap();
    let report = |line| StepReport { seconds: 0.0, ..serde_json::from_str(line).unwrap() };
    text.lines().map(report).collect()
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let undisturbed = tempfile::tempdir().unwrap();
    let model = start(undisturbed.path()).unwrap().run(loss, |_| ()).unwrap();
    let expected = weights(&model);
    assert_eq!(log(undisturbed.path()).len(), 9);
    // The training is stopped after each number of steps. Steps since the last checkpoint are done again.
    for stop in 0..STEPS {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = start(folder.path()).unwrap();
        for _ in 0..stop {
            trainer.step(loss).unwrap();
        }
        drop(trainer);
        // A crash may leave an incomplete line in the log.
        let path = folder.path().join("steps.jsonl");
        let torn = std::fs::read_to_string(&path).unwrap() + "{\"step\":";
        std::fs::write(&path, torn).unwrap();
        let trainer = start(folder.path()).unwrap();
        assert_eq!(trainer.steps_done(), stop - stop % 2);
        let model = trainer.run(loss, |_| ()).unwrap();
        assert!(weights(&model) == expected, "stopped after {stop} steps");
        assert_eq!(log(folder.path()), log(undisturbed.path()), "stopped after {stop} steps");
    }
}

#[test]
fn a_finished_training_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let model = start(folder.path()).unwrap().run(loss, |_| ()).unwrap();
    let again = start(folder.path()).unwrap();
    assert_eq!(again.steps_done(), STEPS);
    let again = again.run(|_, _| unreachable!("no step is left"), |_| ()).unwrap();
    assert_eq!(weights(&again), weights(&model));
    assert_eq!(log(folder.path()).len(), 9);
}

#[test]
fn another_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = start(folder.path()).unwrap();
    trainer.step(loss).unwrap();
    trainer.save().unwrap();
    let model = || model(&Device::flex().autodiff());
    let refused = |what, model, options| {
        let error = Trainer::<Llama>::in_folder(folder.path(), what, model, options).unwrap_err();
        assert!(matches!(error, TrainingError::OtherTraining { .. }), "{error}");
        error.to_string()
    };
    let what = refused("another", model(), options());
    assert!(what.contains("differs in what: expected \"another\", found \"a test\"; use another folder"), "{what}");
    let other = refused("a test", model(), TrainerOptions { accumulation: 3, ..options() });
    assert!(other.contains("differs in trainer.accumulation: expected 3, found 2"), "{other}");
    let init = |seed, n_layers| {
        let config = LlamaConfig { n_layers, ..config() };
        config.init(seed, dynlayer_model::WeightDtype::F32, &Device::flex().autodiff()).unwrap()
    };
    assert!(refused("a test", init(4, 4), options()).contains("differs in the first weights"));
    start(folder.path()).unwrap();
    // A checkpoint of another shape, which only another program can have written.
    let (_, _, identity) = trainer.folder.as_ref().unwrap();
    let load = |module: Llama| {
        let loaded = checkpoint::load(folder.path(), module, &Device::flex(), identity);
        loaded.map(drop).unwrap_err().to_string()
    };
    assert!(load(init(3, 5)).contains("layers.4."));
    assert!(load(init(3, 3)).contains("layers.3."));
}

#[test]
fn folders_that_cannot_be_written_are_known_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(start(&path), Err(TrainingError::Io { .. })));
    }
    let before: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(before.len(), 1, "nothing is left behind");
}

#[test]
fn broken_checkpoints_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = start(folder.path()).unwrap();
    trainer.step(loss).unwrap();
    trainer.save().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let header = usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap() + 8;
    for i in 0..300 {
        let mut bytes = whole.clone();
        if i % 3 == 0 {
            bytes.truncate(rng.random_range(0..whole.len()));
        } else {
            // Only bits of the header are flipped: a flipped bit of a weight is a valid weight, too.
            let at = rng.random_range(0..header);
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        std::fs::write(&path, &bytes).unwrap();
        // Nothing may panic. A flipped bit may leave a checkpoint that can be read.
        match start(folder.path()) {
            Ok(_) => assert!(i % 3 != 0, "a part of a file was taken for the whole"),
            Err(TrainingError::File(_) | TrainingError::OtherTraining { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "the file is left alone");
    }
    let nan = f32::NAN.to_le_bytes();
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&nan);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(start(folder.path()), Err(TrainingError::File(FileError::Content { .. }))));
}

#[test]
fn saved_models_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let model = start(folder.path()).unwrap().run(loss, |_| ()).unwrap();
    let saved = folder.path().join("model");
    model.save(&saved, dynlayer_model::WeightDtype::F32).unwrap();
    let checkpoint = dynlayer_model::Checkpoint::open(&saved).unwrap();
    let back = checkpoint.load(dynlayer_model::WeightDtype::F32, &Device::flex(), |_| ()).unwrap();
    assert_eq!(weights(&back), weights(&model));
    assert_eq!(back.config(), model.config());
    assert_eq!(back.num_params(), model.num_params());
}
