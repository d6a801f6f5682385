//! The trait that decides.

use super::{Batch, ControllerError, Decision, Site};

/// Decides, while a model runs, which layers every row runs.
///
/// One method is required. It is asked once per layer and pass, for the whole batch, and what it answers is what
/// happens: a skipped layer is not launched. The caches, the positions and the accounting are the engine's.
///
/// A controller that compares each state with the one before and exits where little changes:
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
/// # What a controller must not do
///
/// Answer for rows by index across passes: finished rows leave the batch, so remember by [`Row::id`](super::Row::id).
///
/// ```
/// # use dynlayer_inference::{Action, Controller, Decision, Site};
/// struct Wrong(Vec<Action>); // one per row of the batch as it began
/// impl Controller for Wrong {
///     fn decide(&mut self, _site: &Site<'_>) -> Decision {
///         Decision::PerRow(self.0.clone()) // too many once a row has finished: GenerateError::Contract
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
    /// What every row does at this layer. Asked once per layer and controlled pass, until all rows have exited.
    fn decide(&mut self, site: &Site<'_>) -> Decision;

    /// A batch begins: reset what belongs to a run, look at the prompts, refuse what cannot work.
    ///
    /// # Errors
    /// Whatever makes the controller unfit for this model or batch; the run ends before it starts.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let _ = batch;
        Ok(())
    }

    /// The same site in a pass that is not controlled (by default the prompt's): look, nothing to decide.
    ///
    /// Under [`ControlFrom::LastPromptToken`](crate::ControlFrom::LastPromptToken) that pass ends before the prompts' last
    /// tokens, and a row whose prompt is a single token has nothing but padding in it ([`Site::token_mask`]).
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

/// A controller from a closure.
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

/// What [`controller_fn`] makes.
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
