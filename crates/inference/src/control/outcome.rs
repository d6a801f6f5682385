//! The tokens that a pass produced.

use super::logits::{Logits, RowLogits};
use super::{ControllerError, Phase, Route, Row};
use crate::sampling::Distribution;
use burn::tensor::Tensor;
use dynlayer_model::{RmsNorm, select_rows};

/// The tokens that a pass produced, with the distributions and states that they came from.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    pub(crate) phase: Phase,
    pub(crate) controlled: bool,
    pub(crate) rows: Vec<RowOutcome<'a>>,
    /// The rows of `hidden` and `logits` that belong to `rows`; `None` = all of them.
    pub(crate) of: Option<Vec<usize>>,
    /// The residual stream after the last layer at each row's last token, `[rows, 1, d_model]`, and the final norm.
    pub(crate) hidden: &'a Tensor<3>,
    pub(crate) norm: &'a RmsNorm,
    pub(crate) logits: &'a Logits,
}

impl<'a> Outcome<'a> {
    /// The kind of the pass.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// `true` if the controller decided in the pass, `false` if it only observed.
    pub fn controlled(&self) -> bool {
        self.controlled
    }

    /// The outcome of each row, in the order of [`Pass::rows`](super::Pass::rows).
    pub fn rows(&self) -> &[RowOutcome<'a>] {
        &self.rows
    }

    /// The final normed states, `[rows, d_model]`, on the device. Every call norms them.
    pub fn states(&self) -> Tensor<2> {
        self.norm.forward(self.pick(self.hidden)).squeeze_dim(1)
    }

    /// The logits, `[rows, vocab_size]`, on the device.
    pub fn logits(&self) -> Tensor<2> {
        self.pick(self.logits.on_device())
    }

    fn pick<const D: usize>(&self, x: &Tensor<D>) -> Tensor<D> {
        match &self.of {
            Some(of) => select_rows(x.clone(), of),
            None => x.clone(),
        }
    }

    pub(super) fn part(&self, has: impl Fn(u64) -> bool) -> Self {
        let kept = self.rows.iter().enumerate().filter(|(_, row)| has(row.row.id));
        let (of, rows) = kept.map(|(i, row)| (self.of.as_ref().map_or(i, |of| of[i]), *row)).unzip();
        Self { rows, of: Some(of), ..*self }
    }
}

/// The token that a pass produced for one row, with the model's distribution over all tokens.
///
/// The distribution is the model's own, before penalties, temperature, filters and hooks. Its measures are computed
/// when they are asked for, by one walk over the vocabulary on the host. On a GPU, generation may have chosen the tokens there:
/// then the first call reads the logits of all rows, which is the one reason why these methods can fail, with
/// [`ControllerError::Device`].
#[derive(Clone, Copy, Debug)]
pub struct RowOutcome<'a> {
    pub(crate) row: &'a Row,
    pub(crate) token: u32,
    pub(crate) stopped: bool,
    pub(crate) route: &'a Route,
    pub(crate) logits: RowLogits<'a>,
}

impl<'a> RowOutcome<'a> {
    /// The sequence's id.
    pub fn id(&self) -> u64 {
        self.row.id
    }

    /// The row, as it was when the pass began.
    pub fn row(&self) -> &'a Row {
        self.row
    }

    /// The token: the one drawn, or in scoring the given one.
    pub fn token(&self) -> u32 {
        self.token
    }

    /// `true` if the sequence stops after this token.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The sublayers that the row ran in the pass.
    pub fn route(&self) -> &'a Route {
        self.route
    }

    /// The logits, one per token of the vocabulary, on the host.
    ///
    /// # Errors
    /// [`ControllerError::Device`] if the device does not deliver them.
    pub fn logits(&self) -> Result<&'a [f32], ControllerError> {
        self.logits.read()
    }

    /// The natural logarithm of the token's probability.
    ///
    /// # Errors
    /// [`ControllerError::Device`] if the device does not deliver the logits.
    pub fn log_probability(&self) -> Result<f64, ControllerError> {
        Ok(Distribution::new(self.logits()?).log_probability(self.token))
    }

    /// The entropy of the distribution, in nats.
    ///
    /// # Errors
    /// [`ControllerError::Device`] if the device does not deliver the logits.
    pub fn entropy(&self) -> Result<f64, ControllerError> {
        Ok(Distribution::new(self.logits()?).entropy())
    }

    /// The difference between the two largest probabilities.
    ///
    /// # Errors
    /// [`ControllerError::Device`] if the device does not deliver the logits.
    pub fn gap(&self) -> Result<f64, ControllerError> {
        Ok(Distribution::new(self.logits()?).gap())
    }
}
