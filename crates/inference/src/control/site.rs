//! The place in a pass that a controller decides about.

use super::{ControllerError, PassError};
use burn::tensor::{Bool, Tensor, TensorData};
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{Llama, select_rows};
use std::cell::{Cell, RefCell};

/// The kind of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The prompt's pass: several tokens per row.
    Prefill,
    /// A pass that produces one generated token per row.
    Decode,
    /// A training pass over whole sequences.
    Train,
}

/// One live sequence of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The sequence's id, chosen by the caller; by default its index in the batch at the start of the run. It does not
    /// change when other rows leave.
    pub id: u64,
    /// The position of the sequence's last token in this pass, counted from 0 at the first prompt token.
    pub position: usize,
    /// The number of tokens generated before this pass.
    pub generated: usize,
}

/// One layer of one pass that is about to run, with the rows and tensors that a controller decides from.
///
/// Tensors stay on the device, and getting them costs next to nothing. Only [`read`](Self::read) waits for the device,
/// and only [`exit_logits`](Self::exit_logits) and [`exit_logits_of`](Self::exit_logits_of) run a part of the model;
/// the report counts these calls.
pub struct Site<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) layer: usize,
    pub(crate) phase: Phase,
    pub(crate) rows: &'a [Row],
    pub(crate) hidden: &'a Tensor<3>,
    pub(crate) embedded: &'a Tensor<3>,
    /// The number of padding tokens at the start of each row.
    pub(crate) padding: &'a [usize],
    pub(crate) log: &'a SiteLog,
}

/// The engine's log of a controller's calls at one site.
#[derive(Debug, Default)]
pub(crate) struct SiteLog {
    pub(crate) host_reads: Cell<usize>,
    /// The indices of the rows of each product with the head.
    pub(crate) heads: RefCell<Vec<Vec<usize>>>,
    /// The first error. An error from [`Site::fail`] replaces a breach of contract.
    pub(crate) error: RefCell<Option<PassError>>,
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

    /// The residual stream entering the layer, `[rows, tokens, d_model]`, `f32`.
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
        let real: Vec<bool> = self.padding.iter().flat_map(|pad| (0..tokens).map(move |t| t >= *pad)).collect();
        Tensor::from_data(TensorData::new(real, [rows, tokens]), &self.hidden.device())
    }

    /// The logits that each row's last token would have if the row exited here, `[rows, vocab_size]`: the final norm
    /// and the head, applied to [`last_hidden`](Self::last_hidden). This costs one product with the head, which the
    /// report counts for every row.
    pub fn exit_logits(&self) -> Tensor<2> {
        self.log.heads.borrow_mut().push((0..self.rows.len()).collect());
        self.model.logits(self.last_hidden().unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1)
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
        self.log.heads.borrow_mut().push(indices.to_vec());
        let states = select_rows(self.last_hidden(), indices); // [indices, d_model]
        self.model.logits(states.unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1)
    }

    /// Reads one number per row to the host, waiting for the device; the report counts these reads. The result always
    /// has one entry per [row](Self::rows).
    ///
    /// A wrong number of values, a value that is not finite or a device that fails ends the run with
    /// `GenerateError::Contract` after this decision; missing values are NaN, and the decision itself is ignored.
    pub fn read(&self, per_row: Tensor<1>) -> Vec<f32> {
        self.log.host_reads.set(self.log.host_reads.get() + 1);
        let [n] = per_row.dims();
        let rows = self.rows.len();
        if n != rows {
            self.breach(format!("one number per row to read, {rows}"), n.to_string());
        }
        let mut values = match per_row.try_into_data().map(TensorData::try_into_vec_as::<f32>) {
            Ok(Ok(values)) => values,
            Ok(Err(error)) => {
                self.breach("numbers to read".into(), format!("{error:?}"));
                vec![f32::NAN; n]
            }
            Err(error) => {
                self.breach("a device that answers".into(), format!("{error:?}"));
                vec![f32::NAN; n]
            }
        };
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            self.breach("finite numbers to read".into(), format!("{} for row {i}", values[i]));
        }
        // With one value per row, a controller that indexes by row does not panic before the error noted above is
        // raised.
        values.resize(rows, f32::NAN);
        values
    }

    /// Ends the run with this error after the decision, which is then ignored. It is meant for problems that a
    /// controller can find only during the run, such as a file of routes that is too short, or a sequence that it
    /// does not know.
    pub fn fail(&self, error: ControllerError) {
        let mut noted = self.log.error.borrow_mut();
        if !matches!(*noted, Some(PassError::Controller(_))) {
            *noted = Some(PassError::Controller(error));
        }
    }

    /// Notes a breach of contract, which ends the run after the decision.
    pub(crate) fn breach(&self, expected: String, found: String) {
        let breach = PassError::Contract { layer: self.layer, expected, found };
        self.log.error.borrow_mut().get_or_insert(breach);
    }
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("layer", &self.layer)
            .field("phase", &self.phase)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
