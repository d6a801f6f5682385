//! Exchange of states between the tokens of a sequence.

use super::super::sequences::{Passes, Rewind, Sequences};
use crate::control::{Event, Row};
use crate::random;
use burn::tensor::Tensor;
use dynlayer_model::select_rows;
use rand::Rng;
use std::collections::BTreeMap;
use std::ops::Range;

/// Permutes the states of each row's label tokens in `hidden: [rows, tokens, d_model]`; other states stay in place.
///
/// The permutation derives from the row's seed and stream, the training step and the layer.
pub(super) fn permute(hidden: Tensor<3>, labels: &[Range<usize>], rows: &[Row], step: u64, layer: usize) -> Tensor<3> {
    let shape @ [_, tokens, d_model] = hidden.dims();
    let mut places: Vec<usize> = (0..rows.len() * tokens).collect();
    for (i, (row, labels)) in rows.iter().zip(labels).enumerate() {
        let mut rng = random::at(random::PERMUTATION, row.seed, [row.stream, step, layer as u64]);
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
pub(super) struct Reservoir(Sequences<Held>);

/// The state that was held after each pass of a sequence, by layer, `[1, d_model]` each. A rewind goes back to an
/// earlier one; few of them differ.
#[derive(Clone, Debug, Default)]
struct Held(BTreeMap<usize, Passes<Tensor<2>>>);

impl Rewind for Held {
    fn rewind(&mut self, tokens: usize) {
        self.0.values_mut().for_each(|passes| passes.rewind(tokens));
    }
}

impl Reservoir {
    pub(super) fn on(&mut self, event: &Event<'_>) {
        self.0.on(event);
    }

    /// Offers the states of this pass, `[rows, d_model]`, and returns the state that each row now holds, of the same
    /// shape. Rows that have exited offer nothing, as in a pass of their own, which would have ended.
    pub(super) fn exchange(&mut self, states: &Tensor<2>, rows: &[Row], layer: usize) -> Tensor<2> {
        let held = rows.iter().enumerate().map(|(i, row)| {
            let state = states.clone().narrow(0, i, 1); // [1, d_model]
            if !row.asked {
                return state;
            }
            let passes = self.0.entry(row.id).0.entry(layer).or_default();
            let place = [row.stream, row.position as u64, layer as u64];
            let mut rng = random::at(random::RESERVOIR, row.seed, place);
            let replaces = rng.random_range(0..=passes.len() as u64) == 0;
            let state = match passes.last() {
                Some(held) if !replaces => held.clone(),
                _ => state,
            };
            passes.push(row.position, state.clone());
            state
        });
        Tensor::cat(held.collect(), 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::float_cmp,
        clippy::single_range_in_vec_init
    )]

    use super::super::row;
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn label_tokens_change_places_and_others_do_not() {
        let device = Device::flex();
        let run = |ids: &[u64], labels: &[Range<usize>], step| {
            let rows: Vec<Row> = ids.iter().map(|id| Row { seed: 5, ..row(*id, 7) }).collect();
            let values: Vec<f32> = ids.iter().flat_map(|id| (0..8).map(move |t| (*id * 10 + t) as f32)).collect();
            let hidden = Tensor::<3>::from_data(TensorData::new(values, [ids.len(), 8, 1]), &device);
            permute(hidden, labels, &rows, step, 2).into_data().try_into_vec_as::<f32>().unwrap()
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
                let out = reservoir.exchange(&state, &[row(id, position.into())], 0);
                held = out.into_data().try_into_vec_as::<f32>().unwrap()[0];
                assert!(held <= f32::from(position));
            }
            counts[held as usize] += 1;
        }
        // Five standard deviations around 500.
        assert!(counts.iter().all(|n| n.abs_diff(500) < 97), "{counts:?}");
    }

    #[test]
    fn a_rewind_brings_earlier_states_back() {
        let device = Device::flex();
        let mut reservoir = Reservoir::default();
        let offer = |reservoir: &mut Reservoir, position: u8| {
            let state = Tensor::<2>::from_floats([[f32::from(position)]], &device);
            let out = reservoir.exchange(&state, &[row(6, position.into())], 2);
            out.into_data().try_into_vec_as::<f32>().unwrap()[0]
        };
        let first: Vec<f32> = (0..20).map(|position| offer(&mut reservoir, position)).collect();
        reservoir.on(&Event::Rewind { id: 6, tokens: 3 });
        let again: Vec<f32> = (3..20).map(|position| offer(&mut reservoir, position)).collect();
        assert_eq!(again, first[3..]);
        reservoir.on(&Event::End { id: 6 });
        assert_eq!(offer(&mut reservoir, 9), 9.0, "the only state");
    }
}
