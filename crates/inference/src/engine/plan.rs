//! The interpretation of a decision.

use crate::control::{Action, Decision, Ran, one_per_row};
use burn::tensor::{Bool, Tensor, TensorData};

/// The work of one layer in one pass.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "only one plan exists at a time")]
pub(super) enum Plan {
    /// The whole layer for all rows. A variant without a list keeps the engine's overhead small in this common case.
    Everything,
    /// The sublayers that each row runs.
    Rows(Vec<Ran>),
    /// The sublayers that each row runs, and the rows that are asked again before the MLP.
    Ask(Vec<Ran>, Vec<bool>),
    /// The whole layer for all rows, with its update multiplied by a gate of `[rows, tokens]`. The list holds the
    /// sublayers that count as run for each row.
    Gate(Tensor<2>, Vec<Ran>),
}

/// The expected form and the found form of a decision that does not fit.
pub(super) type Misfit = (String, String);

impl Plan {
    /// Interprets a decision about a layer, and marks the rows that exit here.
    pub(super) fn new(decision: Decision, tokens: usize, exited: &mut [bool]) -> Result<Self, Misfit> {
        let rows = exited.len();
        if matches!(decision, Decision::All(Action::Run)) && !exited.contains(&true) {
            return Ok(Self::Everything);
        }
        let actions = match decision {
            Decision::All(action) => vec![action; rows],
            Decision::PerRow(actions) => one_per_row(actions, rows)?,
            Decision::Gate(gate) if gate.dims() == [rows, tokens] => return Ok(Self::gate(gate, exited)),
            Decision::Gate(gate) => {
                return Err((format!("a gate of shape [{rows}, {tokens}]"), format!("{:?}", gate.dims())));
            }
        };
        let mut asks = vec![false; rows];
        let ran = actions.into_iter().zip(exited).zip(&mut asks).map(|((action, exited), asks)| {
            *exited |= action == Action::Exit;
            let live = !*exited;
            *asks = live && action == Action::AskBeforeMlp;
            Ran { attention: live && action.runs_attention(), mlp: live && action.runs_mlp() }
        });
        let ran = ran.collect();
        Ok(if asks.contains(&true) { Self::Ask(ran, asks) } else { Self::Rows(ran) })
    }

    /// Interprets a decision about the MLP of the rows that asked for it, and marks the rows that exit here.
    pub(super) fn mlp(decision: Decision, asks: &[bool], exited: &mut [bool], ran: &mut [Ran]) -> Result<(), Misfit> {
        let expected = || "run, skip, skip-mlp or exit before an MLP".to_owned();
        let actions = match decision {
            Decision::All(action) => vec![action; exited.len()],
            Decision::PerRow(actions) => one_per_row(actions, exited.len())?,
            Decision::Gate(_) => return Err((expected(), "a gate".to_owned())),
        };
        for (row, action) in actions.into_iter().enumerate().filter(|(row, _)| asks[*row]) {
            match action {
                Action::Run => ran[row].mlp = true,
                Action::Skip | Action::SkipMlp => {}
                Action::Exit => exited[row] = true,
                Action::SkipAttention => return Err((expected(), "skip-attention".to_owned())),
                Action::AskBeforeMlp => return Err((expected(), "ask-before-mlp".to_owned())),
            }
        }
        Ok(())
    }

    /// Returns `true` if the attention runs for some row.
    pub(super) fn runs_attention(&self) -> bool {
        match self {
            Self::Everything | Self::Gate(..) => true,
            Self::Rows(ran) | Self::Ask(ran, _) => ran.iter().any(|ran| ran.attention),
        }
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
