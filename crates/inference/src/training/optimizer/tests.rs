//! Tests of the optimizer against the update rule, written out in f64.
#![allow(clippy::cast_possible_truncation, reason = "few steps")]

use super::super::tests::values;
use super::super::{AdamWOptions, LearningRate, StepLoss, StepPart, Trainer, TrainerOptions, TrainingError};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
struct Two {
    matrix: Param<Tensor<2>>,
    vector: Param<Tensor<1>>,
}

fn two() -> Two {
    let device = Device::flex().autodiff();
    Two {
        matrix: Param::from_tensor(Tensor::from_floats([[1.0, -2.0], [0.5, 3.0]], &device)),
        vector: Param::from_tensor(Tensor::from_floats([2.0, -1.0], &device)),
    }
}

fn loss(two: &Two) -> StepLoss {
    let loss = two.matrix.val().square().sum() + two.vector.val().powf_scalar(4.0).sum();
    StepLoss { loss, metrics: Vec::new() }
}

fn options(clip_norm: Option<f64>, accumulation: u64) -> TrainerOptions {
    TrainerOptions {
        rate: LearningRate { peak: 0.05, warm_up: 3, steps: 8, final_fraction: 0.1 },
        adamw: AdamWOptions { weight_decay: 0.1, clip_norm, ..AdamWOptions::default() },
        accumulation,
        checkpoint_every: 100,
    }
}

/// The weights by Algorithm 2 of Loshchilov and Hutter 2019, with decay of the matrix only and gradients clipped
/// together.
fn by_hand(options: TrainerOptions) -> Vec<f64> {
    let mut x: Vec<f64> = vec![1.0, -2.0, 0.5, 3.0, 2.0, -1.0];
    let (mut mean, mut square) = (vec![0.0; 6], vec![0.0; 6]);
    let AdamWOptions { beta_1, beta_2, epsilon, weight_decay, clip_norm } = options.adamw;
    let (beta_1, beta_2, epsilon) = (f64::from(beta_1), f64::from(beta_2), f64::from(epsilon));
    for step in 0..options.rate.steps {
        let mut gradient: Vec<f64> = (0..6).map(|i| if i < 4 { 2.0 * x[i] } else { 4.0 * x[i].powi(3) }).collect();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let scale = clip_norm.map_or(1.0, |most| (most / norm).min(1.0));
        for g in &mut gradient {
            *g *= scale;
        }
        let (rate, t) = (options.rate.at(step), step as i32 + 1);
        for i in 0..6 {
            mean[i] = beta_1 * mean[i] + (1.0 - beta_1) * gradient[i];
            square[i] = beta_2 * square[i] + (1.0 - beta_2) * gradient[i] * gradient[i];
            let step = (mean[i] / (1.0 - beta_1.powi(t))) / ((square[i] / (1.0 - beta_2.powi(t))).sqrt() + epsilon);
            let decay = if i < 4 { f64::from(weight_decay) } else { 0.0 };
            x[i] -= rate * (step + decay * x[i]);
        }
    }
    x
}

#[test]
fn steps_follow_the_rule() {
    for clip_norm in [None, Some(1.0)] {
        let options = options(clip_norm, 1);
        let trained = Trainer::new(two(), options).unwrap().run(|two, _| Ok(loss(two)), |_| ()).unwrap();
        let found: Vec<f32> = [values(trained.matrix.val()), values(trained.vector.val())].concat();
        for (found, expected) in found.iter().zip(by_hand(options)) {
            // f32 against f64 over 8 steps.
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[test]
fn accumulated_parts_are_averaged() {
    let train = |accumulation| {
        let trainer = Trainer::new(two(), options(Some(1.0), accumulation)).unwrap();
        values(trainer.run(|two, _| Ok(loss(two)), |_| ()).unwrap().matrix.val())
    };
    for (one, three) in train(1).iter().zip(train(3)) {
        assert!((one - three).abs() < 1e-6);
    }
}

#[test]
fn weights_without_gradients_stay() {
    let two = two();
    let before = values(two.matrix.val());
    let trainer = Trainer::new(two, options(None, 1)).unwrap();
    let only_vector = |two: &Two| StepLoss { loss: two.vector.val().square().sum(), metrics: Vec::new() };
    let after = trainer.run(|two, _| Ok(only_vector(two)), |_| ()).unwrap();
    assert_eq!(values(after.matrix.val()), before, "not even decayed");
    assert_ne!(values(after.vector.val()), [2.0, -1.0]);
}

#[test]
fn a_loss_that_is_not_finite_is_an_error() {
    let mut trainer = Trainer::new(two(), options(None, 1)).unwrap();
    let nan = |two: &Two| StepLoss { loss: two.vector.val().sum() * f32::NAN, metrics: Vec::new() };
    assert!(matches!(
        trainer.step(|two, _| Ok(nan(two))),
        Err(TrainingError::NotFinite { step: 0, what: "the loss", .. })
    ));
    assert_eq!(values(trainer.module().vector.val()), [2.0, -1.0], "as before");
    // The gradient of a square root at 0.
    let infinite =
        |two: &Two| StepLoss { loss: (two.vector.val() - two.vector.val()).sqrt().sum(), metrics: Vec::new() };
    let error = trainer.step(|two, _| Ok(infinite(two))).unwrap_err();
    assert!(matches!(error, TrainingError::NotFinite { what: "the gradients' norm", .. }), "{error}");
    assert_eq!(values(trainer.module().vector.val()), [2.0, -1.0], "as before");
    // A later step with a finite loss does what it would have done without the errors before it.
    trainer.step(|two, _| Ok(loss(two))).unwrap();
    let mut undisturbed = Trainer::new(two(), options(None, 1)).unwrap();
    undisturbed.step(|two, _| Ok(loss(two))).unwrap();
    assert_eq!(values(trainer.module().vector.val()), values(undisturbed.module().vector.val()));
    assert_eq!(values(trainer.module().matrix.val()), values(undisturbed.module().matrix.val()));
}

#[test]
fn a_failed_part_leaves_no_gradients() {
    let mut trainer = Trainer::new(two(), options(None, 2)).unwrap();
    let failing = |two: &Two, at: StepPart| {
        let factor = if at.part == 0 { 100.0 } else { f32::NAN };
        Ok(StepLoss { loss: two.vector.val().square().sum() * factor, metrics: Vec::new() })
    };
    trainer.step(failing).unwrap_err();
    trainer.step(|two, _| Ok(loss(two))).unwrap();
    let mut undisturbed = Trainer::new(two(), options(None, 2)).unwrap();
    undisturbed.step(|two, _| Ok(loss(two))).unwrap();
    assert_eq!(values(trainer.module().vector.val()), values(undisturbed.module().vector.val()));
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |change: fn(&mut TrainerOptions)| {
        let mut options = options(None, 1);
        change(&mut options);
        assert!(matches!(Trainer::new(two(), options), Err(TrainingError::Option { .. })));
    };
    refused(|o| o.accumulation = 0);
    refused(|o| o.checkpoint_every = 0);
    refused(|o| o.rate.peak = f64::NAN);
    refused(|o| o.rate.steps = 0);
    refused(|o| o.rate.final_fraction = 1.5);
    refused(|o| o.adamw.beta_2 = 1.0);
    refused(|o| o.adamw.epsilon = 0.0);
    refused(|o| o.adamw.weight_decay = -0.1);
    refused(|o| o.adamw.clip_norm = Some(0.0));
}
