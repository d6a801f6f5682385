//! The interpretation of a decision.

use crate::control::{Action, Decision, Ran};
use burn::tensor::{Bool, Tensor, TensorData};

/// The work of one layer in one pass.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "only one plan exists at a time")]
pub(super) enum Plan {
    /// The whole layer for all rows. A variant without a list keeps the engine's overhead small in this common case.
    Everything,
    /// The sublayers that each row runs.
    Rows(Vec<Ran>),
    /// The whole layer for all rows, with its update multiplied by a gate of `[rows, tokens]`. The list holds the
    /// sublayers that count as run for each row.
    Gate(Tensor<2>, Vec<Ran>),
}

impl Plan {
    /// Interprets a decision, and marks the rows that exit here.
    ///
    /// # Errors
    /// The expected form and the found form, if the decision does not fit the batch.
    pub(super) fn new(decision: Decision, tokens: usize, exited: &mut [bool]) -> Result<Self, (String, String)> {
        let rows = exited.len();
        if matches!(decision, Decision::All(Action::Run)) && !exited.contains(&true) {
            return Ok(Self::Everything);
        }
        let actions = match decision {
            Decision::All(action) => vec![action; rows],
            Decision::PerRow(actions) if actions.len() == rows => actions,
            Decision::PerRow(actions) => {
                return Err((format!("one action per row, {rows}"), actions.len().to_string()));
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

    /// Returns a plan with this gate, set to 0 for the rows that have exited.
    fn gate(gate: Tensor<2>, exited: &[bool]) -> Self {
        let ran = exited.iter().map(|exited| Ran { attention: !exited, mlp: !exited }).collect();
        if !exited.contains(&true) {
            return Self::Gate(gate, ran);
        }
        let (shape @ [rows, _], device) = (gate.dims(), gate.device());
        let closed = Tensor::<2, Bool>::from_data(TensorData::new(exited.to_vec(), [rows, 1]), &device);
        // Fills with 0 rather than multiplying by 0, since the controller's gate for an exited row may be NaN.
        Self::Gate(gate.mask_fill(closed.expand(shape), 0.0), ran)
    }
}
