//! Controllers from text and JSON.

mod argument;
mod error;
mod resources;
#[cfg(test)]
mod tests;

pub(super) use argument::{Argument, Value, option};
pub use error::{BuildError, SpecError};
pub use resources::Resources;

use super::{
    BernoulliSkip, Budgeted, ConfidenceExit, EntropyExit, ExitAfter, FullDepth, InfluenceSpec, RandomSkip, ReplaySpec,
    RouterSpec, SaturationExit, Schedule, SimilaritySpec, SkipLayers, UniformSkip, WarmUp,
};
use crate::control::Controller;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The controllers that can be named, one line each: the variant, whose name in kebab case is the controller's name in
/// JSON, and the type that implements [`Spec`] and [`Build`].
macro_rules! registry {
    ($($variant:ident($spec:ty),)*) => {
        /// A controller as data, read from a command line or a configuration file.
        ///
        /// [`ControllerSpec::all`] lists the text of each controller. Options follow the first value, separated by
        /// commas, in any order: `confidence:0.9,min=8,every=4`. JSON has the name under `controller` and the fields of
        /// the variant: `{"controller": "uniform", "budget": 20}`; options may be left out.
        ///
        /// [`build`](Self::build) makes the controller. Most variants hold the controller itself, as it is before a run;
        /// those that need a measurement or a file hold what is needed to find it.
        ///
        /// ```
        /// use dynlayer_inference::controllers::{Budgeted, ConfidenceExit, ControllerSpec, ExitRule};
        ///
        /// let spec: ControllerSpec = "budgeted:18:confidence:0.9,min=8".parse()?;
        /// let inner = ConfidenceExit::new(ExitRule { min_layers: 8, ..ExitRule::new(0.9) });
        /// let inner = ControllerSpec::Confidence(inner);
        /// assert_eq!(spec, ControllerSpec::Budgeted(Budgeted::new(18.0, Box::new(inner))));
        /// assert_eq!(spec.to_string(), "budgeted:18:confidence:0.9,min=8");
        /// # Ok::<(), dynlayer_inference::controllers::SpecError>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "controller", rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum ControllerSpec {
            $(
                #[doc = concat!("A [`", stringify!($spec), "`].")]
                $variant($spec),
            )*
        }

        impl ControllerSpec {
            /// The text forms of all controllers, for help texts and tables.
            ///
            /// ```
            /// use dynlayer_inference::controllers::ControllerSpec;
            ///
            /// let uniform = ControllerSpec::all().iter().find(|form| form.name() == "uniform").unwrap();
            /// assert_eq!(uniform.to_string(), "uniform:LAYERS: LAYERS layers, evenly spread from the first to the last");
            /// ```
            pub fn all() -> &'static [SpecForm] {
                &[$(SpecForm { syntax: <$spec>::SYNTAX, about: <$spec>::ABOUT },)*]
            }

            /// Makes the controller for this model.
            ///
            /// Reads files and measures the model where the specification says so. Whether settings make sense for the
            /// model is checked when a run begins.
            ///
            /// # Errors
            /// If there is no text to calibrate on, the calibration fails, or a file cannot be read or was made for a
            /// model of other dimensions.
            pub fn build(
                &self,
                model: &Llama,
                resources: &Resources,
            ) -> Result<Box<dyn Controller + Send>, BuildError> {
                match self {
                    $(Self::$variant(spec) => spec.build(model, resources),)*
                }
            }
        }

        impl fmt::Display for ControllerSpec {
            /// Writes the text that parses into the same specification, without the options that have their defaults.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(spec) => f.write_str(&spec.to_text()),)*
                }
            }
        }

        /// Reads a specification that may hold `depth` others inside each other.
        fn read(text: &str, depth: usize) -> Result<ControllerSpec, SpecError> {
            let depth = depth.checked_sub(1).ok_or(SpecError::TooDeep { limit: MAX_DEPTH })?;
            let name = text.split(':').next().unwrap_or_default().trim();
            match name {
                $(
                    _ if name == name_of(<$spec>::SYNTAX) => {
                        Argument::new(<$spec>::SYNTAX, text, depth).read().map(ControllerSpec::$variant)
                    }
                )*
                _ => Err(SpecError::Unknown { found: name.to_owned() }),
            }
        }
    };
}

registry! {
    Full(FullDepth),
    Skip(SkipLayers),
    Uniform(UniformSkip),
    Exit(ExitAfter),
    Influence(InfluenceSpec),
    Random(RandomSkip),
    Bernoulli(BernoulliSkip),
    Schedule(Schedule),
    Confidence(ConfidenceExit),
    Entropy(EntropyExit),
    Saturation(SaturationExit),
    Similarity(SimilaritySpec),
    Router(RouterSpec),
    Replay(ReplaySpec),
    Budgeted(Budgeted<Box<ControllerSpec>>),
    Warmup(WarmUp<Box<ControllerSpec>>),
}

/// The most controllers inside each other: enough for any use, and no text can exhaust the stack.
const MAX_DEPTH: usize = 16;

impl FromStr for ControllerSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        read(text, MAX_DEPTH)
    }
}

/// The text form of one controller: its name and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecForm {
    /// The form, such as `random:LAYERS[,ends=free]`; parts in brackets may be left out.
    pub syntax: &'static str,
    /// The layers that run, in the words of the syntax.
    pub about: &'static str,
}

impl SpecForm {
    /// The controller's name, which begins the text.
    pub fn name(&self) -> &'static str {
        name_of(self.syntax)
    }
}

impl fmt::Display for SpecForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.syntax, self.about)
    }
}

fn name_of(syntax: &'static str) -> &'static str {
    syntax.split(':').next().unwrap_or(syntax)
}

/// The text form of a controller, in the controller's own file.
pub(super) trait Spec: Sized {
    /// The form, for errors and help texts: the name, then the value in capitals after a colon, options in brackets.
    const SYNTAX: &'static str;
    /// The layers that run, in the words of the syntax.
    const ABOUT: &'static str;

    /// Reads what follows the name.
    fn read(argument: &mut Argument<'_>) -> Result<Self, SpecError>;

    /// Writes what follows the name, so that [`read`](Self::read) reads the same.
    fn write(&self) -> String;

    /// The whole text.
    fn to_text(&self) -> String {
        match Self::SYNTAX.split_once(':') {
            Some((name, _)) => format!("{name}:{}", self.write()),
            None => Self::SYNTAX.to_owned(),
        }
    }
}

/// Makes the controller that a specification describes.
pub(super) trait Build {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError>;
}

/// A controller that needs nothing else is its own specification.
impl<C: Controller + Clone + Send + 'static> Build for C {
    fn build(&self, _: &Llama, _: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        Ok(Box::new(self.clone()))
    }
}
