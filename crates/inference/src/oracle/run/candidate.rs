//! Candidates: controllers by name.

use super::OracleError;
use crate::control::{Controller, Event, Setup};
use crate::controllers::{BuildError, ControllerSpec, FullDepth, Resources};
use dynlayer_model::{Digest, Llama};
use std::collections::BTreeMap;
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
    /// Returns the digests of what the controllers are made from, besides the name.
    inputs: Box<dyn Fn() -> Result<BTreeMap<String, Digest>, BuildError> + 'a>,
}

impl<'a> Candidate<'a> {
    /// Creates a candidate from a function that makes a new controller each time, always with the same behaviour.
    ///
    /// A run's file tells such candidates apart by their names alone. If the controller depends on more, such as a
    /// file, add its digest with [`reading`](Self::reading).
    pub fn new<C: Controller + Send + 'static>(name: impl Into<String>, make: impl Fn() -> C + 'a) -> Self {
        Self {
            name: name.into(),
            full: false,
            make: Box::new(move || Ok(Box::new(make()))),
            inputs: Box::new(|| Ok(BTreeMap::new())),
        }
    }

    /// Adds the digest of something that the controllers depend on, named `what` in errors. A run can only be continued
    /// with the same.
    ///
    /// ```
    /// use dynlayer_inference::controllers::SkipLayers;
    /// use dynlayer_inference::oracle::Candidate;
    /// use dynlayer_model::Digest;
    ///
    /// let list = "3,5,7"; // from a file
    /// let layers: Vec<usize> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
    /// let candidate = Candidate::new("listed", move || SkipLayers::new(layers.clone()));
    /// let candidate = candidate.reading("list of layers", Digest::of([list]));
    /// # let _ = candidate;
    /// # Ok::<(), std::num::ParseIntError>(())
    /// ```
    pub fn reading(self, what: impl Into<String>, digest: Digest) -> Self {
        let (what, others) = (what.into(), self.inputs);
        Self {
            inputs: Box::new(move || {
                let mut inputs = others()?;
                inputs.insert(what.clone(), digest);
                Ok(inputs)
            }),
            ..self
        }
    }

    /// The full model, under the name `full`.
    pub fn full() -> Self {
        Self { full: true, ..Self::new("full", || FullDepth) }
    }

    /// Creates a candidate from a specification. The name is the specification's text. A run can only be continued with
    /// the same [inputs](ControllerSpec::inputs).
    pub fn from_spec(spec: &ControllerSpec, model: &'a Llama, resources: &'a Resources) -> Self {
        let (full, name) = (matches!(spec, ControllerSpec::Full(_)), spec.to_string());
        let (made, read) = (spec.clone(), spec.clone());
        Self {
            name,
            full,
            make: Box::new(move || made.build(model, resources)),
            inputs: Box::new(move || read.inputs(resources)),
        }
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
        self.controller().map_err(|source| self.failed(source))
    }

    /// Makes a controller and starts it, as a run does. The error names the candidate.
    pub(super) fn check(&self, setup: &Setup<'_>) -> Result<(), OracleError> {
        let refused = |source| OracleError::Refused { candidate: self.name.clone(), source };
        self.build()?.on(&Event::Start(setup)).map_err(refused)
    }

    /// The digests of what the controllers are made from, by name.
    pub(super) fn inputs(&self) -> Result<BTreeMap<String, Digest>, OracleError> {
        (self.inputs)().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: BuildError) -> OracleError {
        OracleError::Candidate { candidate: self.name.clone(), source: Box::new(source) }
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).field("full", &self.full).finish_non_exhaustive()
    }
}
