//! The trait of all controllers.

use super::{ControllerError, Decision, Event, Site};

/// Decides, while a model runs, which layers each row runs.
///
/// One method is required. The engine calls it before each layer of a pass, for all rows at once, and carries out the
/// answer: a skipped layer is not launched. The engine also keeps the caches, the positions and the accounting.
///
/// This controller compares each row's state with its state at the previous layer, and exits if little has changed:
///
/// ```
/// use burn::tensor::Tensor;
/// use dynlayer_inference::{Action, Controller, ControllerError, Decision, Site};
///
/// struct Saturated {
///     threshold: f32,
///     previous: Option<Tensor<2>>,
/// }
///
/// impl Controller for Saturated {
///     fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
///         let now = site.last_hidden(); // [rows, d_model], on the device
///         let before = self.previous.replace(now.clone());
///         let Some(before) = before.filter(|_| site.layer() > 0) else { return Ok(Action::Run.into()) };
///         let dot = (now.clone() * before.clone()).sum_dim(1);
///         let norms = now.square().sum_dim(1) * before.square().sum_dim(1);
///         let cosine = (dot / norms.sqrt()).squeeze_dim::<1>(1); // [rows]
///         let similar = site.read(cosine)?; // one number per row, on the host
///         let action = |s| if s > self.threshold { Action::Exit } else { Action::Run };
///         Ok(Decision::per_row(similar.into_iter().map(action)))
///     }
/// }
/// ```
///
/// # State belongs to a sequence
///
/// Sequences join, leave and change places between passes. A controller must keep what it knows about a sequence by
/// [`Row::id`](super::Row::id), and forget it when an [`Event`] says so.
///
/// ```
/// # use dynlayer_inference::{Action, Controller, ControllerError, Decision, Site};
/// struct Wrong(Vec<Action>); // one per row at the start of the run
/// impl Controller for Wrong {
///     fn decide(&mut self, _site: &Site<'_>) -> Result<Decision, ControllerError> {
///         Ok(Decision::PerRow(self.0.clone())) // GenerateError::Contract once a row has finished: too many
///     }
/// }
///
/// struct Right(std::collections::HashMap<u64, Action>); // by id
/// impl Controller for Right {
///     fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
///         let action = |id| self.0.get(&id).copied().unwrap_or(Action::Run);
///         Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
///     }
/// }
/// ```
///
/// # Errors
///
/// An error from any method ends the step: no token is chosen, and the keys and values that the step wrote are dropped.
/// [`generate`](crate::generate) and [`score`](crate::score) return it.
pub trait Controller {
    /// Decides what each row does here. The engine calls this method before each layer of a controlled pass, until all
    /// rows have exited, and again before the MLP if a row answered [`Action::AskBeforeMlp`](super::Action).
    ///
    /// # Errors
    /// The reason why the controller cannot decide.
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError>;

    /// Looks at a layer of a pass that is not controlled, which by default is the pass over the prompt. The default
    /// implementation does nothing.
    ///
    /// # Errors
    /// The reason why the controller cannot go on.
    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        let _ = site;
        Ok(())
    }

    /// Learns what else happens: a run starts, a sequence joins, a pass begins, tokens were produced. The default
    /// implementation does nothing. A controller that wraps another forwards every event, also those that it does not
    /// know.
    ///
    /// # Errors
    /// The reason why the controller does not fit the model or the sequence, or cannot go on.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let _ = event;
        Ok(())
    }
}

impl<C: Controller + ?Sized> Controller for &mut C {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        (**self).decide(site)
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        (**self).observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        (**self).on(event)
    }
}

impl<C: Controller + ?Sized> Controller for Box<C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        (**self).decide(site)
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        (**self).observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        (**self).on(event)
    }
}
