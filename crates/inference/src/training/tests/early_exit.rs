//! The early-exit loss against the cross-entropy of models that stop there.

use super::super::{ExitLoss, PassOptions, TrainingError, pass};
use super::{batch, model, values};
use crate::controllers::{ExitAfter, FullDepth};
use burn::tensor::Device;

#[test]
fn every_exit_has_the_loss_of_a_model_that_stops_there() {
    let model = model(&Device::flex());
    let batch = batch(&model);
    let options = PassOptions { keep_states: true, ..PassOptions::default() };
    let full = pass(&model, &mut FullDepth, &batch, options).unwrap();
    let exits = ExitLoss { scale: 0.5, rotation: 1 };
    let (loss, parts) = exits.loss(&model, &full, &batch, 0).unwrap();
    let weights = exits.weights(4, 0);
    let mut expected = 0.0;
    assert_eq!(parts.iter().map(|(layer, _)| *layer).collect::<Vec<_>>(), [1, 2, 3]);
    for (layer, part) in parts {
        let alone = pass(&model, &mut ExitAfter(layer + 1), &batch, PassOptions::default()).unwrap();
        let alone = values(alone.cross_entropy(&model, &batch))[0];
        assert!((values(part)[0] - alone).abs() < 2e-5, "after layer {layer}");
        expected += weights[layer] * f64::from(alone);
    }
    assert!((f64::from(values(loss)[0]) - expected).abs() < 2e-5);
}

#[test]
fn exits_take_turns() {
    let exits = ExitLoss { scale: 1.0, rotation: 3 };
    let at = |step| -> Vec<usize> { (0..12).filter(|layer| exits.weights(12, step)[*layer] > 0.0).collect() };
    assert_eq!([at(0), at(1), at(2)], [vec![3, 6, 9, 11], vec![1, 4, 7, 10, 11], vec![2, 5, 8, 11]]);
    assert_eq!(at(3), at(0));
    for weights in [exits.weights(12, 1), exits.weights(1, 0), ExitLoss { scale: 0.0, rotation: 1 }.weights(5, 0)] {
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn options_out_of_range_and_missing_states_are_refused() {
    let model = model(&Device::flex());
    let batch = batch(&model);
    let full = pass(&model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
    let refused = |scale, rotation| {
        matches!(ExitLoss { scale, rotation }.loss(&model, &full, &batch, 0), Err(TrainingError::Option { .. }))
    };
    assert!(refused(f64::NAN, 1) && refused(-1.0, 1) && refused(1.0, 0));
    assert!(refused(1.0, 1), "no states were kept");
}
