//! The layout of a batch, and what is refused.

use super::super::{TrainingBatch, TrainingError};
use super::{batch, item, items, model};
use crate::{ControlFrom, TokenProblem};
use burn::tensor::Device;

#[test]
fn places_of_labels_and_gates() {
    let model = model(&Device::flex());
    let batch = batch(&model);
    assert_eq!((batch.width(), batch.label_count()), (7, 8));
    // The rows end with the token before the last of the answer.
    assert_eq!(batch.label_places(), [4..7, 6..7, 3..7]);
    assert_eq!(batch.controlled_places(ControlFrom::FirstGenerated), [5..7, 7..7, 4..7]);
    assert_eq!(batch.controlled_places(ControlFrom::LastPromptToken), [4..7, 6..7, 3..7]);
    assert_eq!(batch.controlled_places(ControlFrom::All), [0..7, 5..7, 3..7]);
}

#[test]
fn what_cannot_be_learned_from_is_refused() {
    let model = model(&Device::flex());
    let refused = |items| TrainingBatch::new(&model, items).unwrap_err();
    assert!(matches!(refused(vec![]), TrainingError::EmptyBatch));
    assert!(matches!(
        refused(vec![item(1, &[], &[2])]),
        TrainingError::Item { id: 1, part: "prompt", problem: TokenProblem::Empty }
    ));
    assert!(matches!(
        refused(vec![item(1, &[2], &[])]),
        TrainingError::Item { id: 1, part: "answer", problem: TokenProblem::Empty }
    ));
    assert!(matches!(refused(vec![item(5, &[1], &[2]), item(5, &[1], &[2])]), TrainingError::RepeatedId { id: 5 }));
    assert!(matches!(
        refused(vec![item(1, &[2; 30], &[2; 3])]),
        TrainingError::Item { id: 1, part: "text", problem: TokenProblem::TooLong { tokens: 33, context: 32 } }
    ));
    assert!(matches!(
        refused(vec![item(1, &[2], &[30])]),
        TrainingError::Item { id: 1, problem: TokenProblem::OutOfRange { token: 30, vocab_size: 30 }, .. }
    ));
    assert!(TrainingBatch::new(&model, items()).is_ok());
}
