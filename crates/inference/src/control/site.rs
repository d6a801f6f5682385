//! The place in a pass that a controller decides about.

use super::action::one_per_row;
use super::logits::read;
use super::{Action, ControllerError, Phase, Row};
use burn::tensor::{Bool, Tensor, TensorData};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Llama, select_rows};
use std::cell::{Cell, RefCell};
use std::fmt::Display;

/// The place in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// Before the layer, which is before its attention.
    Layer,
    /// Between the attention and the MLP. Only rows that answered [`Action::AskBeforeMlp`] are asked here, and only
    /// these answers are allowed: [`Action::Run`] runs the MLP; [`Action::Skip`] and [`Action::SkipMlp`] do not;
    /// [`Action::Exit`] does not either, and ends the row's pass with the state that the attention left.
    Mlp,
}

/// One layer of one pass that is about to run, with the rows and tensors that a controller decides from.
///
/// Tensors stay on the device, and getting them costs next to nothing. Only [`read`](Self::read) waits for the device,
/// and only [`exit_logits`](Self::exit_logits) and [`exit_logits_of`](Self::exit_logits_of) run a part of the model;
/// the report counts these calls.
pub struct Site<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) layer: usize,
    pub(crate) place: Place,
    pub(crate) phase: Phase,
    pub(crate) rows: &'a [Row],
    pub(crate) hidden: &'a Tensor<3>,
    pub(crate) embedded: &'a Tensor<3>,
    pub(crate) log: &'a SiteLog,
}

/// The engine's log of a controller's calls at one site.
#[derive(Debug, Default)]
pub(crate) struct SiteLog {
    pub(crate) host_reads: Cell<usize>,
    /// The row indices and the logits, `[indices, vocab_size]`, of each product with the head.
    pub(crate) heads: RefCell<Vec<(Vec<usize>, Tensor<2>)>>,
}

impl Site<'_> {
    /// The index of the layer, from 0.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// The number of layers of the model.
    pub fn n_layers(&self) -> usize {
        self.model.layers().len()
    }

    /// The place in the layer.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The model's configuration.
    pub fn config(&self) -> &LlamaConfig {
        self.model.config()
    }

    /// The kind of the pass.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The live rows, in the order of every tensor's first axis, including rows that exited earlier in the pass.
    pub fn rows(&self) -> &[Row] {
        self.rows
    }

    /// The indices of the rows whose answer counts, [`Row::asked`].
    pub fn asked(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|index| self.rows[*index].asked).collect()
    }

    /// The residual stream at this place, `[rows, tokens, d_model]`, `f32`.
    pub fn hidden(&self) -> &Tensor<3> {
        self.hidden
    }

    /// The residual state of each row's last token, `[rows, d_model]`.
    pub fn last_hidden(&self) -> Tensor<2> {
        let tokens = self.hidden.dims()[1];
        self.hidden.clone().narrow(1, tokens - 1, 1).squeeze_dim::<2>(1)
    }

    /// The tokens' embeddings: the residual stream entering layer 0, `[rows, tokens, d_model]`.
    pub fn embedded(&self) -> &Tensor<3> {
        self.embedded
    }

    /// A mask, `[rows, tokens]`, that is `true` for every token except padding.
    pub fn token_mask(&self) -> Tensor<2, Bool> {
        let [rows, tokens, _] = self.hidden.dims();
        let real = |row: &Row| {
            let padding = tokens.saturating_sub(row.tokens);
            (0..tokens).map(move |token| token >= padding)
        };
        let real: Vec<bool> = self.rows.iter().flat_map(real).collect();
        Tensor::from_data(TensorData::new(real, [rows, tokens]), &self.hidden.device())
    }

    /// The logits that each row's last token would have if the row exited here, `[rows, vocab_size]`: the final norm
    /// and the head, applied to [`last_hidden`](Self::last_hidden). This costs one product with the head, which the
    /// report counts for every row. If a row does exit here, its logits are not computed again.
    pub fn exit_logits(&self) -> Tensor<2> {
        let logits = self.model.logits(self.last_hidden().unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1);
        self.log.heads.borrow_mut().push(((0..self.rows.len()).collect(), logits.clone()));
        logits
    }

    /// The [`exit_logits`](Self::exit_logits) of some rows, given as indices into [`rows`](Self::rows):
    /// `[indices, vocab_size]`. The report counts only these rows, so rows that have exited cost nothing. Without
    /// indices, nothing is computed.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn exit_logits_of(&self, indices: &[usize]) -> Tensor<2> {
        let n = self.rows.len();
        assert!(indices.iter().all(|index| *index < n), "rows {indices:?} of {n}");
        if indices.iter().copied().eq(0..n) {
            return self.exit_logits();
        }
        if indices.is_empty() {
            return Tensor::empty([0, self.model.config().vocab_size], &self.hidden.device());
        }
        let states = select_rows(self.last_hidden(), indices); // [indices, d_model]
        let logits = self.model.logits(states.unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1);
        self.log.heads.borrow_mut().push((indices.to_vec(), logits.clone()));
        logits
    }

    /// Reads one number per row to the host, waiting for the device; the report counts these reads.
    ///
    /// # Errors
    /// - [`ControllerError::Contract`]: there is not one number per [row](Self::rows), or a number is not finite.
    /// - [`ControllerError::Device`]: the device fails.
    pub fn read(&self, per_row: Tensor<1>) -> Result<Vec<f32>, ControllerError> {
        self.log.host_reads.set(self.log.host_reads.get() + 1);
        let ([found], rows) = (per_row.dims(), self.rows.len());
        if found != rows {
            return Err(self.breach(format!("one number per row to read, {rows}"), &found));
        }
        let values = read(per_row)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(row) => Err(self.breach("finite numbers to read", &format!("{} for row {row}", values[row]))),
            None => Ok(values),
        }
    }

    /// Returns the actions, if there is one per row.
    pub(super) fn per_row(&self, actions: Vec<Action>) -> Result<Vec<Action>, ControllerError> {
        one_per_row(actions, self.rows.len()).map_err(|(expected, found)| self.breach(expected, &found))
    }

    /// Makes the error for a breach of the contract at this layer.
    pub(crate) fn breach(&self, expected: impl Into<String>, found: &dyn Display) -> ControllerError {
        ControllerError::Contract { layer: self.layer, expected: expected.into(), found: found.to_string() }
    }
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("layer", &self.layer)
            .field("place", &self.place)
            .field("phase", &self.phase)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
