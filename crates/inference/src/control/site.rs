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
    /// The sequence's id, chosen by the caller; its index in the batch by default. Does not change when other rows
    /// leave.
    pub id: u64,
    /// The position of its last token in this pass, from 0 at the first prompt token.
    pub position: usize,
    /// The number of tokens generated before this pass.
    pub generated: usize,
}

/// One layer of one pass, about to run: what a controller sees of all rows when it decides.
///
/// Tensors stay on the device, and getting them costs nothing. Only [`read`](Self::read) waits for the device, and only
/// [`exit_logits`](Self::exit_logits) computes something; the report counts both.
pub struct Site<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) layer: usize,
    pub(crate) phase: Phase,
    pub(crate) rows: &'a [Row],
    pub(crate) hidden: &'a Tensor<3>,
    pub(crate) embedded: &'a Tensor<3>,
    /// Left padding per row.
    pub(crate) padding: &'a [usize],
    pub(crate) log: &'a SiteLog,
}

/// The engine's log of a controller's calls at one site.
#[derive(Debug, Default)]
pub(crate) struct SiteLog {
    pub(crate) host_reads: Cell<usize>,
    /// The rows of each product with the head.
    pub(crate) heads: RefCell<Vec<Vec<usize>>>,
    /// The first error; a controller's own goes before a breach of contract.
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

    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        self.model.config()
    }

    /// The kind of the pass.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The live rows, in the order of every tensor's first axis. Rows that exited earlier in the pass are still here.
    pub fn rows(&self) -> &[Row] {
        self.rows
    }

    /// The residual stream entering the layer, `[rows, tokens, d_model]`, `f32`.
    pub fn hidden(&self) -> &Tensor<3> {
        self.hidden
    }

    /// The last token's residual state, `[rows, d_model]`.
    pub fn last_hidden(&self) -> Tensor<2> {
        let tokens = self.hidden.dims()[1];
        self.hidden.clone().narrow(1, tokens - 1, 1).squeeze_dim::<2>(1)
    }

    /// The tokens' embeddings: the residual stream entering layer 0, `[rows, tokens, d_model]`.
    pub fn embedded(&self) -> &Tensor<3> {
        self.embedded
    }

    /// `true` where a token is real and not padding, `[rows, tokens]`.
    pub fn token_mask(&self) -> Tensor<2, Bool> {
        let [rows, tokens, _] = self.hidden.dims();
        let real: Vec<bool> = self.padding.iter().flat_map(|pad| (0..tokens).map(move |t| t >= *pad)).collect();
        Tensor::from_data(TensorData::new(real, [rows, tokens]), &self.hidden.device())
    }

    /// The logits that each row's last token would have if the row exited here, `[rows, vocab_size]`: final norm and
    /// head of [`last_hidden`](Self::last_hidden). Costs one product with the head, which the report counts for every
    /// row.
    pub fn exit_logits(&self) -> Tensor<2> {
        self.log.heads.borrow_mut().push((0..self.rows.len()).collect());
        self.model.logits(self.last_hidden().unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1)
    }

    /// The [`exit_logits`](Self::exit_logits) of some rows, by index into [`rows`](Self::rows): `[indices,
    /// vocab_size]`. The report counts only these rows, so rows that have exited cost nothing. Without indices, nothing
    /// is computed.
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
        // A controller that indexes by row then ends with the error noted above, not with a panic before it.
        values.resize(rows, f32::NAN);
        values
    }

    /// Ends the run with this error after the decision, which is then ignored. For problems that a controller can only
    /// find on the way: a file of routes that is too short, a sequence that it was never told of.
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
