//! The trait of all controllers.

use super::{Batch, ControllerError, Decision, Site};

/// Decides, while a model runs, which layers each row runs.
///
/// One method is required. The engine calls it once per layer and pass, for the whole batch, and carries out the
/// answer: a skipped layer is not launched. The engine also keeps the caches, the positions and the accounting.
///
/// This controller compares each row's state with its state at the previous layer, and exits if little has changed:
///
/// ```
/// use burn::tensor::Tensor;
/// use dynlayer_inference::{Action, Controller, Decision, Site};
///
/// struct Saturated {
///     threshold: f32,
///     previous: Option<Tensor<2>>,
/// }
///
/// impl Controller for Saturated {
///     fn decide(&mut self, site: &Site<'_>) -> Decision {
///         let now = site.last_hidden(); // [rows, d_model], on the device
///         let before = self.previous.replace(now.clone());
///         let Some(before) = before.filter(|_| site.layer() > 0) else { return Action::Run.into() };
///         let dot = (now.clone() * before.clone()).sum_dim(1);
///         let norms = now.square().sum_dim(1) * before.square().sum_dim(1);
///         let cosine = (dot / norms.sqrt()).squeeze_dim::<1>(1); // [rows]
///         let similar = site.read(cosine); // one number per row, on the host
///         Decision::per_row(similar.into_iter().map(|s| if s > self.threshold { Action::Exit } else { Action::Run }))
///     }
/// }
/// ```
///
/// # Rows leave the batch
///
/// Finished rows leave the batch, so an index may refer to another row in the next pass. A controller must keep the
/// state of each row by [`Row::id`](super::Row::id).
///
/// ```
/// # use dynlayer_inference::{Action, Controller, Decision, Site};
/// struct Wrong(Vec<Action>); // one per row at the start of the run
/// impl Controller for Wrong {
///     fn decide(&mut self, _site: &Site<'_>) -> Decision {
///         Decision::PerRow(self.0.clone()) // GenerateError::Contract once a row has finished: too many
///     }
/// }
///
/// struct Right(std::collections::HashMap<u64, Action>); // by id
/// impl Controller for Right {
///     fn decide(&mut self, site: &Site<'_>) -> Decision {
///         Decision::per_row(site.rows().iter().map(|row| self.0.get(&row.id).copied().unwrap_or(Action::Run)))
///     }
/// }
/// ```
pub trait Controller {
    /// Decides what each row does at this layer. The engine calls this method once per layer of a controlled pass,
    /// until all rows have exited.
    fn decide(&mut self, site: &Site<'_>) -> Decision;

    /// Prepares for a new batch: resets the state left from an earlier run, looks at the prompts, and refuses a model
    /// or batch that the controller cannot work with. The default implementation does nothing.
    ///
    /// # Errors
    /// The reason why the controller does not fit this model or batch; the run then ends before it starts.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let _ = batch;
        Ok(())
    }

    /// Looks at a site of a pass that is not controlled, which by default is the pass over the prompts. The default
    /// implementation does nothing.
    ///
    /// Under [`ControlFrom::LastPromptToken`](crate::ControlFrom::LastPromptToken) the pass over the prompts ends
    /// before their last tokens, so a row whose prompt is a single token has only padding in that pass
    /// ([`Site::token_mask`]).
    fn observe(&mut self, site: &Site<'_>) {
        let _ = site;
    }
}

impl<C: Controller + ?Sized> Controller for &mut C {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        (**self).decide(site)
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        (**self).begin(batch)
    }

    fn observe(&mut self, site: &Site<'_>) {
        (**self).observe(site);
    }
}

impl<C: Controller + ?Sized> Controller for Box<C> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        (**self).decide(site)
    }

    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        (**self).begin(batch)
    }

    fn observe(&mut self, site: &Site<'_>) {
        (**self).observe(site);
    }
}

/// Makes a controller from a closure.
///
/// ```
/// use dynlayer_inference::{Action, controller_fn};
///
/// let every_other = controller_fn(|site| if site.layer() % 2 == 1 { Action::Skip.into() } else { Action::Run.into() });
/// # let _: &dyn dynlayer_inference::Controller = &every_other;
/// ```
pub fn controller_fn<F: FnMut(&Site<'_>) -> Decision>(decide: F) -> ControllerFn<F> {
    ControllerFn(decide)
}

/// The controller that [`controller_fn`] makes from a closure.
#[derive(Clone, Copy)]
pub struct ControllerFn<F>(F);

impl<F> std::fmt::Debug for ControllerFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControllerFn")
    }
}

impl<F: FnMut(&Site<'_>) -> Decision> Controller for ControllerFn<F> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        (self.0)(site)
    }
}
