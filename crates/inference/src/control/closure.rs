//! Controllers made from closures.

use super::{Action, Controller, ControllerError, Decision, Site};

/// Makes a controller from a closure that returns an [`Action`], a [`Decision`], or a `Result` of either.
///
/// ```
/// use dynlayer_inference::{Action, controller_fn};
///
/// let every_other = controller_fn(|site| if site.layer() % 2 == 1 { Action::Skip } else { Action::Run });
/// # let _: &dyn dynlayer_inference::Controller = &every_other;
/// ```
pub fn controller_fn<F, A>(decide: F) -> ControllerFn<F>
where
    F: FnMut(&Site<'_>) -> A,
    A: Answer,
{
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

impl<F, A> Controller for ControllerFn<F>
where
    F: FnMut(&Site<'_>) -> A,
    A: Answer,
{
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        (self.0)(site).into_decision()
    }
}

/// The return type of a closure for [`controller_fn`]: an [`Action`], a [`Decision`], or a `Result` of either.
pub trait Answer: sealed::Sealed {
    /// Returns the decision.
    ///
    /// # Errors
    /// The closure's error.
    fn into_decision(self) -> Result<Decision, ControllerError>;
}

impl Answer for Action {
    fn into_decision(self) -> Result<Decision, ControllerError> {
        Ok(self.into())
    }
}

impl Answer for Decision {
    fn into_decision(self) -> Result<Decision, ControllerError> {
        Ok(self)
    }
}

impl<D: Into<Decision>> Answer for Result<D, ControllerError> {
    fn into_decision(self) -> Result<Decision, ControllerError> {
        self.map(Into::into)
    }
}

mod sealed {
    use super::{Action, ControllerError, Decision};

    pub trait Sealed {}
    impl Sealed for Action {}
    impl Sealed for Decision {}
    impl<D: Into<Decision>> Sealed for Result<D, ControllerError> {}
}
