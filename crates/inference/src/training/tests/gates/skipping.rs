//! Models fine-tuned to do without layers.

use super::{counting_batch, counting_model};
use crate::ControlFrom;
use crate::training::{SkipTuning, TrainerOptions, TrainingError, parameters};
use dynlayer_model::Llama;

fn bits(model: &Llama) -> Vec<(String, Vec<u32>)> {
    let bits = |(name, (_, values)): (String, (_, Vec<f32>))| (name, values.into_iter().map(f32::to_bits).collect());
    parameters::values(model).unwrap().into_iter().map(bits).collect()
}

#[test]
fn skipped_layers_stay_bit_for_bit_and_the_others_learn() {
    let model = counting_model().clone();
    let mut tuning = SkipTuning::new([1, 3], TrainerOptions::new(20, 1e-3));
    tuning.control_from = ControlFrom::LastPromptToken;
    let mut losses = Vec::new();
    let data = |at| counting_batch(counting_model(), at, 12);
    let tuned = tuning.run(model.clone(), None, data, |report| losses.push(report.loss)).unwrap();
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");
    for ((name, before), (_, after)) in bits(&model).into_iter().zip(bits(&tuned)) {
        let skipped = name.starts_with("layers.1.") || name.starts_with("layers.3.");
        assert_eq!(before == after, skipped, "{name}");
    }
}

#[test]
fn layers_that_are_not_there() {
    let tuning = SkipTuning::new([6], TrainerOptions::new(1, 1e-3));
    let data = |at| counting_batch(counting_model(), at, 2);
    let error = tuning.run(counting_model().clone(), None, data, |_| {}).unwrap_err();
    assert!(matches!(error, TrainingError::LayerOutOfRange { layer: 6, n_layers: 6 }), "{error}");
}
