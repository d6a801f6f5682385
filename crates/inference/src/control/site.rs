//! Where a pass stands when the controller is asked.

use super::ControllerError;
use crate::generation::GenerateError;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use dynlayer_model::Llama;
use dynlayer_model::config::LlamaConfig;
use std::cell::{Cell, RefCell};

/// What kind of pass this is.
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
    /// The sequence's id, chosen by the caller; its index in the batch by default. Stays when other rows leave.
    pub id: u64,
    /// The position of its last token in this pass, counted from 0 at the first prompt token.
    pub position: usize,
    /// How many tokens were generated before this pass.
    pub generated: usize,
}

/// Where a pass stands: asked about once per layer, for all rows.
///
/// Tensors stay on the device and cost nothing to look at. [`read`](Self::read) is the one call that waits for the
/// device, and [`exit_logits`](Self::exit_logits) the one that computes something; the report counts both.
pub struct Site<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) layer: usize,
    pub(crate) phase: Phase,
    pub(crate) rows: &'a [Row],
    pub(crate) hidden: &'a Tensor<3>,
    pub(crate) embedded: &'a Tensor<3>,
    /// Left padding per row.
    pub(crate) padding: &'a [usize],
    pub(crate) watch: &'a Watch,
}

/// What the engine notes of a controller's calls during one pass.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) host_reads: Cell<usize>,
    /// The rows of each product with the head.
    pub(crate) heads: RefCell<Vec<Vec<usize>>>,
    pub(crate) fault: RefCell<Option<Fault>>,
    pub(crate) failure: RefCell<Option<ControllerError>>,
}

/// A breach of contract that a site noticed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Watch {
    /// Whether the run can go on after the decision at this layer.
    pub(crate) fn verdict(self, layer: usize) -> Result<(), GenerateError> {
        if let Some(failure) = self.failure.into_inner() {
            return Err(failure.into());
        }
        match self.fault.into_inner() {
            Some(Fault { expected, found }) => Err(GenerateError::Contract { layer, expected, found }),
            None => Ok(()),
        }
    }

    pub(crate) fn note(&self, expected: String, found: String) {
        self.fault.borrow_mut().get_or_insert(Fault { expected, found });
    }
}

impl Site<'_> {
    /// The layer that is about to run or not, from 0.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// How many layers the model has.
    pub fn n_layers(&self) -> usize {
        self.model.layers().len()
    }

    /// The model's dimensions.
    pub fn config(&self) -> &LlamaConfig {
        self.model.config()
    }

    /// What kind of pass this is.
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

    /// The last token's logits if its row exited here, `[rows, vocab_size]`: final norm and head of
    /// [`last_hidden`](Self::last_hidden). One product with the head, which the report counts for every row.
    pub fn exit_logits(&self) -> Tensor<2> {
        self.watch.heads.borrow_mut().push((0..self.rows.len()).collect());
        self.model.logits(self.last_hidden().unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1)
    }

    /// [`exit_logits`](Self::exit_logits) of some rows only, by index into [`rows`](Self::rows): `[indices, vocab_size]`.
    /// The report counts these rows only, so rows that have exited need not be paid for again; without any index nothing
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
        self.watch.heads.borrow_mut().push(indices.to_vec());
        let picked: Vec<i64> = indices.iter().map(|index| i64::try_from(*index).unwrap_or(i64::MAX)).collect();
        let picked = Tensor::<1, Int>::from_data(picked.as_slice(), &self.hidden.device());
        let states = self.last_hidden().select(0, picked); // [indices, d_model]
        self.model.logits(states.unsqueeze_dim::<3>(1)).squeeze_dim::<2>(1)
    }

    /// Brings one number per row to the host, waiting for the device; the report counts these. The result has an entry for
    /// each of [`rows`](Self::rows), whatever was read.
    ///
    /// A result that cannot be used (the wrong number of values, a value that is not finite, a device that failed) ends
    /// the run with `GenerateError::Contract` after this decision; the answer given meanwhile does not matter.
    pub fn read(&self, per_row: Tensor<1>) -> Vec<f32> {
        self.watch.host_reads.set(self.watch.host_reads.get() + 1);
        let [n] = per_row.dims();
        let rows = self.rows.len();
        if n != rows {
            self.watch.note(format!("one number per row to read, {rows}"), format!("{n}"));
        }
        let mut values = match per_row.try_into_data().map(burn::tensor::TensorData::try_into_vec_as::<f32>) {
            Ok(Ok(values)) => values,
            Ok(Err(error)) => {
                self.watch.note("numbers to read".into(), format!("{error:?}"));
                vec![f32::NAN; n]
            }
            Err(error) => {
                self.watch.note("a device that answers".into(), format!("{error:?}"));
                vec![f32::NAN; n]
            }
        };
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            self.watch.note("finite numbers to read".into(), format!("{} for row {i}", values[i]));
        }
        // Whoever indexes by row is told by the error of this decision, and not by a panic before it.
        values.resize(rows, f32::NAN);
        values
    }
}

impl Site<'_> {
    /// Ends the run with this error after the decision; the answer given meanwhile does not matter. For what a
    /// controller can only find out on the way: a file of routes that is too short, a sequence it was never told of.
    pub fn fail(&self, error: ControllerError) {
        self.watch.failure.borrow_mut().get_or_insert(error);
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
