//! Candidates: controllers by name.

use super::OracleError;
use crate::control::Controller;
use crate::controllers::{BuildError, ControllerSpec, FullDepth, Resources};
use dynlayer_model::Llama;
use std::fmt;

pub(super) type BoxedController = Box<dyn Controller + Send>;

/// A controller with a name, which the oracle may choose for a sequence. An [`OracleRun`](super::OracleRun) makes a new
/// controller for each continuation of a prompt.
///
/// ```
/// use dynlayer_inference::controllers::UniformSkip;
/// use dynlayer_inference::oracle::Candidate;
///
/// let candidates = [Candidate::full(), Candidate::new("uniform:3", || UniformSkip::new(3))];
/// assert_eq!(candidates[1].name(), "uniform:3");
/// ```
pub struct Candidate<'a> {
    name: String,
    full: bool,
    make: Box<dyn Fn() -> Result<BoxedController, BuildError> + 'a>,
}

impl<'a> Candidate<'a> {
    /// Creates a candidate from a function that makes a new controller each time, always with the same behaviour.
    pub fn new<C: Controller + Send + 'static>(name: impl Into<String>, make: impl Fn() -> C + 'a) -> Self {
        Self { name: name.into(), full: false, make: Box::new(move || Ok(Box::new(make()))) }
    }

    /// The full model, under the name `full`.
    pub fn full() -> Self {
        Self { full: true, ..Self::new("full", || FullDepth) }
    }

    /// Creates a candidate from a specification. The name is the specification's text.
    pub fn from_spec(spec: &ControllerSpec, model: &'a Llama, resources: &'a Resources) -> Self {
        let (full, name, spec) = (matches!(spec, ControllerSpec::Full(_)), spec.to_string(), spec.clone());
        Self { name, full, make: Box::new(move || spec.build(model, resources)) }
    }

    /// The candidate's name, by which the evidence refers to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the candidate is the full model.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Makes a new controller.
    ///
    /// # Errors
    /// If the specification cannot be built.
    pub fn controller(&self) -> Result<Box<dyn Controller + Send>, BuildError> {
        (self.make)()
    }

    /// Makes a new controller; the error names the candidate.
    pub(super) fn build(&self) -> Result<BoxedController, OracleError> {
        let named = |source| OracleError::Candidate { candidate: self.name.clone(), source: Box::new(source) };
        self.controller().map_err(named)
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).field("full", &self.full).finish_non_exhaustive()
    }
}
