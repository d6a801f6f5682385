//! From a decision to what runs.

use crate::control::{Action, Decision};
use crate::report::Ran;
use burn::tensor::{Bool, Tensor, TensorData};

/// What one layer does in one pass.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(super) enum Plan {
    /// The whole layer, for all rows: the common case, and the one in which the engine's own time shows.
    Everything,
    /// What runs, per row.
    Rows(Vec<Ran>),
    /// Everything runs, and the update is weighted: `[rows, tokens]`; with what counts as run, per row.
    Gate(Tensor<2>, Vec<Ran>),
}

impl Plan {
    /// Reads a decision, and marks the rows that exit here.
    ///
    /// # Errors
    /// What was expected and what was found, if the decision does not fit the batch.
    pub(super) fn new(decision: Decision, tokens: usize, exited: &mut [bool]) -> Result<Self, (String, String)> {
        let rows = exited.len();
        if matches!(decision, Decision::All(Action::Run)) && !exited.contains(&true) {
            return Ok(Self::Everything);
        }
        let actions = match decision {
            Decision::All(action) => vec![action; rows],
            Decision::PerRow(actions) if actions.len() == rows => actions,
            Decision::PerRow(actions) => {
                return Err((format!("one action per row, {rows}"), format!("{}", actions.len())));
            }
            Decision::Gate(gate) if gate.dims() == [rows, tokens] => return Ok(Self::gate(gate, exited)),
            Decision::Gate(gate) => {
                return Err((format!("a gate of shape [{rows}, {tokens}]"), format!("{:?}", gate.dims())));
            }
        };
        let ran = actions.into_iter().zip(exited).map(|(action, exited)| {
            *exited |= action == Action::Exit;
            let live = !*exited;
            Ran { attention: live && action.runs_attention(), mlp: live && action.runs_mlp() }
        });
        Ok(Self::Rows(ran.collect()))
    }

    /// A gate, closed for the rows that have exited: their answers no longer count.
    fn gate(gate: Tensor<2>, exited: &[bool]) -> Self {
        let ran = exited.iter().map(|exited| Ran { attention: !exited, mlp: !exited }).collect();
        if !exited.contains(&true) {
            return Self::Gate(gate, ran);
        }
        let (shape @ [rows, _], device) = (gate.dims(), gate.device());
        let closed = Tensor::<2, Bool>::from_data(TensorData::new(exited.to_vec(), [rows, 1]), &device);
        // Filled and not multiplied: what a controller answers for an exited row may be no number.
        Self::Gate(gate.mask_fill(closed.expand(shape), 0.0), ran)
    }
}
