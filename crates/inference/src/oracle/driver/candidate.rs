//! What a sequence can be given.

use crate::control::Controller;
use crate::controllers::{BuildError, ControllerSpec, FullDepth, Resources};
use dynlayer_model::Llama;
use std::fmt;

/// A controller as often as it is needed: each lane of a prompt gets one of its own.
pub(super) type Boxed = Box<dyn Controller + Send>;

/// A controller that sequences may be given, by name.
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
    make: Box<dyn Fn() -> Result<Boxed, BuildError> + 'a>,
}

impl<'a> Candidate<'a> {
    /// A candidate whose controllers `make` makes: each time a new one, which behaves as the one before.
    pub fn new<C: Controller + Send + 'static>(name: impl Into<String>, make: impl Fn() -> C + 'a) -> Self {
        Self { name: name.into(), full: false, make: Box::new(move || Ok(Box::new(make()))) }
    }

    /// The full model, named `full`.
    pub fn full() -> Self {
        Self { full: true, ..Self::new("full", || FullDepth) }
    }

    /// What a specification says, under its text as name.
    pub fn from_spec(spec: &ControllerSpec, model: &'a Llama, resources: &'a Resources) -> Self {
        let (full, name, spec) = (matches!(spec, ControllerSpec::Full(_)), spec.to_string(), spec.clone());
        Self { name, full, make: Box::new(move || spec.build(model, resources)) }
    }

    /// Its name, under which it stands in the evidence.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the full model.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// A new controller.
    ///
    /// # Errors
    /// If the specification cannot be built.
    pub fn controller(&self) -> Result<Box<dyn Controller + Send>, BuildError> {
        (self.make)()
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).field("full", &self.full).finish_non_exhaustive()
    }
}
