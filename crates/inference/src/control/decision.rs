//! The decision about a batch at one layer.

use super::{Action, ControllerError, Row, Site};
use burn::tensor::Tensor;

/// A controller's answer for one layer and pass.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "made once per layer and pass; a box would cost more than it saves")]
pub enum Decision {
    /// The same action for every row.
    All(Action),
    /// One action per row, in the order of [`Site::rows`]. An action applies to every token that the row has in this
    /// pass.
    PerRow(Vec<Action>),
    /// Weights in `[0, 1]`, `[rows, tokens]`, on the device: the layer runs for every row, and the state becomes
    /// `hidden + gate * (layer(hidden) - hidden)`. This form is differentiable, for training, and saves no work.
    Gate(Tensor<2>),
}

impl Decision {
    /// Makes a decision of one action per row, in the order of [`Site::rows`].
    ///
    /// ```
    /// use dynlayer_inference::{Action, Decision};
    ///
    /// let scores = [0.2, 0.9];
    /// let decision = Decision::per_row(scores.iter().map(|s| if *s > 0.5 { Action::Exit } else { Action::Run }));
    /// assert!(matches!(decision, Decision::PerRow(actions) if actions == [Action::Run, Action::Exit]));
    /// ```
    pub fn per_row(actions: impl IntoIterator<Item = Action>) -> Self {
        Self::PerRow(actions.into_iter().collect())
    }

    /// Changes the action of every row whose answer counts ([`Row::asked`]); a gate stays as it is. Controllers that
    /// wrap another use it:
    ///
    /// ```
    /// use dynlayer_inference::{Action, Controller, ControllerError, Decision, Event, Site};
    ///
    /// /// Another controller, whose rows skip instead of exiting.
    /// struct NeverExits<C>(C);
    ///
    /// impl<C: Controller> Controller for NeverExits<C> {
    ///     fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
    ///         let skip = |action| if action == Action::Exit { Action::Skip } else { action };
    ///         self.0.decide(site)?.map_rows(site, |_, action| skip(action))
    ///     }
    ///     fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
    ///         self.0.observe(site)
    ///     }
    ///     fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
    ///         self.0.on(event)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ControllerError::Contract`] if the decision does not have one action per row.
    pub fn map_rows(
        self,
        site: &Site<'_>,
        mut change: impl FnMut(&Row, Action) -> Action,
    ) -> Result<Self, ControllerError> {
        let rows = site.rows().iter();
        let mut change = |row: &Row, action| if row.asked { change(row, action) } else { action };
        match self {
            Self::All(action) => {
                let actions: Vec<Action> = rows.map(|row| change(row, action)).collect();
                // One action for all rows stays one, which the engine carries out faster.
                let first = actions.first().copied().unwrap_or(action);
                let same = actions.iter().all(|action| *action == first);
                Ok(if same { Self::All(first) } else { Self::PerRow(actions) })
            }
            Self::PerRow(actions) => {
                let actions = site.per_row(actions)?;
                Ok(Self::per_row(rows.zip(actions).map(|(row, action)| change(row, action))))
            }
            gate @ Self::Gate(_) => Ok(gate),
        }
    }
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        Self::All(action)
    }
}
