//! Gates in decoding, under which every layer runs and its update is weighted.

use crate::support::{assert_close, device, small};
use burn::tensor::{Tensor, TensorData};
use dynlayer::inference::{
    Action, ControlFrom, Controller, Decision, GenerateOptions, KvPolicy, RunSettings, ScoreItem, ScoreOptions, Site,
    controller_fn, generate, score_batch,
};
use proptest::prelude::*;

const LAYERS: usize = 5;
const ROWS: usize = 3;

/// The actions of the rows at a layer (0 skips, 1 runs, 2 exits), and `true` to ask for the layer as a gate.
type Layer = ([u8; ROWS], bool);

fn passes() -> impl Strategy<Value = Vec<Vec<Layer>>> {
    let row = prop_oneof![5 => Just(0u8), 8 => Just(1u8), 1 => Just(2u8)];
    let layer = (prop::array::uniform3(row), any::<bool>());
    prop::collection::vec(prop::collection::vec(layer, LAYERS), 1..5)
}

/// Runs the given passes. With `gated`, layers marked as gates where no row exits are asked for as gates.
fn controller(passes: &[Vec<Layer>], gated: bool) -> impl Controller + '_ {
    controller_fn(move |site: &Site<'_>| {
        let layer = |generated: usize| passes[generated % passes.len()][site.layer()];
        let wants: Vec<u8> = site.rows().iter().map(|row| layer(row.generated).0[row.id as usize]).collect();
        if gated && layer(site.rows()[0].generated).1 && !wants.contains(&2) {
            let tokens = site.hidden().dims()[1];
            let gate = wants.iter().flat_map(|want| std::iter::repeat_n(f32::from(*want), tokens)).collect::<Vec<_>>();
            return Decision::Gate(Tensor::from_data(
                TensorData::new(gate, [wants.len(), tokens]),
                &site.hidden().device(),
            ));
        }
        let action = |want| [Action::Skip, Action::Run, Action::Exit][usize::from(want)];
        Decision::per_row(wants.into_iter().map(action))
    })
}

fn logits(passes: &[Vec<Layer>], gated: bool, kv_policy: KvPolicy, control_from: ControlFrom) -> Vec<Vec<f32>> {
    let model = small(&device());
    let item = |prompt: Vec<u32>, continuation: Vec<u32>| ScoreItem { prompt, continuation };
    let items = [
        item(vec![1, 2, 3], vec![4, 5, 6, 7, 8]),
        item(vec![11], vec![12, 13]),
        item(vec![21, 22, 23, 24, 25], vec![26, 27, 28, 29]),
    ];
    let options = ScoreOptions {
        run: RunSettings { kv_policy, control_from, ..RunSettings::default() },
        keep_logits: true,
        ..ScoreOptions::default()
    };
    let scores = score_batch(&model, controller(passes, gated), &items, &options).unwrap();
    scores.sequences.into_iter().flat_map(|sequence| sequence.tokens).map(|token| token.logits).collect()
}

proptest! {
    #![proptest_config(crate::support::cases(48))]

    /// A gate of one equals a layer that runs, and a gate of zero one that is skipped under `Propagate`. Rows that have
    /// exited stay out, whatever the gate says.
    #[test]
    fn gates_of_zero_and_one_are_actions(
        passes in passes(), control in prop::sample::select(ControlFrom::ALL.to_vec()),
    ) {
        let actions = logits(&passes, false, KvPolicy::Propagate, control);
        assert_close(&logits(&passes, true, KvPolicy::Propagate, control), &actions);
        assert_close(&logits(&passes, true, KvPolicy::Deferred, control), &actions);
    }

    /// If every layer is a gate, only tokens that have exited are holes or owed keys and values.
    #[test]
    fn policies_agree_on_gates(passes in passes()) {
        let all: Vec<Vec<Layer>> = passes
            .into_iter()
            .map(|layers| layers.into_iter().map(|(rows, _)| (rows.map(|want| want.min(1)), true)).collect())
            .collect();
        let propagated = logits(&all, true, KvPolicy::Propagate, ControlFrom::All);
        assert_close(&logits(&all, true, KvPolicy::Omit, ControlFrom::All), &propagated);
    }
}

/// The answer for a row that has exited is ignored, even if it is NaN.
#[test]
fn a_gate_that_is_no_number_for_an_exited_row() {
    let model = small(&device());
    let run = |number: f32| {
        let controller = controller_fn(move |site: &Site<'_>| {
            if site.layer() < 2 {
                let exits = |id: u64| id == 1 && site.layer() == 1;
                let action = |id: u64| if exits(id) { Action::Exit } else { Action::Run };
                return Decision::per_row(site.rows().iter().map(|row| action(row.id)));
            }
            let gate: Vec<f32> = site.rows().iter().map(|row| if row.id == 1 { number } else { 1.0 }).collect();
            let shape = [gate.len(), 1];
            Decision::Gate(Tensor::from_data(TensorData::new(gate, shape), &site.hidden().device()))
        });
        let options = GenerateOptions { max_new_tokens: 4, ..GenerateOptions::default() };
        generate(&model, controller, &[vec![1, 2], vec![3, 4]], options).unwrap().finish().unwrap().0
    };
    let expected = run(1.0);
    assert_eq!(run(f32::NAN), expected);
    assert_eq!(run(f32::INFINITY), expected);
    assert!(expected[1].routes[1..].iter().all(|route| route.to_string() == "#...."));
}
