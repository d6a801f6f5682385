//! Exchange of states between the tokens of a sequence.

use crate::control::Row;
use crate::random;
use burn::tensor::Tensor;
use dynlayer_model::select_rows;
use rand::Rng;
use std::collections::HashMap;
use std::ops::Range;

/// Permutes the states of each row's label tokens in `hidden: [rows, tokens, d_model]`; other states stay in place.
///
/// The permutation derives from the seed, the training step, the sequence and the layer.
pub(super) fn permute(
    hidden: Tensor<3>,
    labels: &[Range<usize>],
    rows: &[Row],
    seed: u64,
    step: u64,
    layer: usize,
) -> Tensor<3> {
    let shape @ [_, tokens, d_model] = hidden.dims();
    let mut places: Vec<usize> = (0..rows.len() * tokens).collect();
    for (i, (row, labels)) in rows.iter().zip(labels).enumerate() {
        let mut rng = random::at(*b"permutes", seed, row.id, step, layer as u64);
        let places = &mut places[i * tokens..(i + 1) * tokens];
        let end = labels.end.min(tokens);
        for at in labels.start..end {
            places.swap(at, rng.random_range(at..end));
        }
    }
    select_rows(hidden.reshape([rows.len() * tokens, d_model]), &places).reshape(shape)
}

/// One state per sequence and layer, drawn from those seen so far with equal probabilities: reservoir sampling
/// (Vitter 1985, algorithm R, for a reservoir of one).
#[derive(Clone, Debug, Default)]
pub(super) struct Reservoir(HashMap<(u64, usize), (u64, Tensor<2>)>);

impl Reservoir {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Offers the states of this pass, `[rows, d_model]`, and returns the state that each row now holds, of the same
    /// shape.
    pub(super) fn exchange(&mut self, states: Tensor<2>, rows: &[Row], layer: usize, seed: u64) -> Tensor<2> {
        let held = rows.iter().enumerate().map(|(i, row)| {
            let state = states.clone().narrow(0, i, 1); // [1, d_model]
            let (count, held) = self.0.entry((row.id, layer)).or_insert_with(|| (0, state.clone()));
            *count += 1;
            let mut rng = random::at(*b"reservoi", seed, row.id, row.position as u64, layer as u64);
            if rng.random_range(0..*count) == 0 {
                *held = state;
            }
            held.clone()
        });
        Tensor::cat(held.collect(), 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::single_range_in_vec_init)]

    use super::*;
    use burn::tensor::{Device, TensorData};

    fn row(id: u64, position: usize) -> Row {
        Row { id, position, generated: 0 }
    }

    #[test]
    fn label_tokens_change_places_and_others_do_not() {
        let device = Device::flex();
        let run = |ids: &[u64], labels: &[Range<usize>], step| {
            let rows: Vec<Row> = ids.iter().map(|id| row(*id, 7)).collect();
            let values: Vec<f32> = ids.iter().flat_map(|id| (0..8).map(move |t| (*id * 10 + t) as f32)).collect();
            let hidden = Tensor::<3>::from_data(TensorData::new(values, [ids.len(), 8, 1]), &device);
            permute(hidden, labels, &rows, 5, step, 2).into_data().try_into_vec_as::<f32>().unwrap()
        };
        let both = run(&[1, 2], &[2..8, 0..5], 0);
        assert_eq!(both[..2], [10.0, 11.0], "before the labels");
        assert_eq!(both[13..], [25.0, 26.0, 27.0], "after the labels");
        let mut sorted = both[2..8].to_vec();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, [12.0, 13.0, 14.0, 15.0, 16.0, 17.0]);
        assert_ne!(both[2..8], sorted, "nothing moved");
        assert_eq!(run(&[2], &[0..5], 0), both[8..], "alone as in the batch");
        assert_ne!(run(&[1], &[2..8], 1), both[..8], "another step");
    }

    #[test]
    fn every_state_so_far_is_equally_probable() {
        let device = Device::flex();
        let mut counts = [0u32; 4];
        for id in 0..2000 {
            let mut reservoir = Reservoir::default();
            let mut held = f32::NAN;
            for position in 0..4u8 {
                let state = Tensor::<2>::from_floats([[f32::from(position)]], &device);
                let out = reservoir.exchange(state, &[row(id, position.into())], 0, 0);
                held = out.into_data().try_into_vec_as::<f32>().unwrap()[0];
                assert!(held <= f32::from(position));
            }
            counts[held as usize] += 1;
        }
        // Five standard deviations around 500.
        assert!(counts.iter().all(|n| n.abs_diff(500) < 97), "{counts:?}");
    }
}
