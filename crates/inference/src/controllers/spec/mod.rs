//! Controllers from text and JSON.

mod error;
mod form;
mod inputs;
mod resources;
#[cfg(test)]
mod tests;

pub use error::{BuildError, SpecError};
pub use form::SpecForm;
pub(super) use form::{Fields, read, write};
pub(super) use resources::Source;
pub use resources::{Needs, Resources};

use crate::control::Controller;
use dynlayer_model::Llama;

/// Makes the controller that a specification describes.
pub(super) trait Build {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError>;

    /// The inputs that [`build`](Self::build) takes from the resources; none by default.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// A controller that needs no file and no measurement is its own specification.
impl<C: Controller + Clone + Send + 'static> Build for C {
    fn build(&self, _: &Llama, _: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        Ok(Box::new(self.clone()))
    }
}

/// Defines [`ControllerSpec`](super::ControllerSpec) from a list of variants. The name of a variant in kebab case is
/// the controller's name; its type has a constant `FORM`, and implements [`Build`] and serde's traits.
macro_rules! registry {
    ($($variant:ident($spec:ty),)*) => {
        /// A controller as data, read from a command line or a configuration file.
        ///
        /// [`ControllerSpec::all`] lists the text form of each controller. Options follow the first value, separated by
        /// commas, in any order: `confidence:0.9,min=8,every=4`. JSON has the name under `controller` and the fields of
        /// the variant: `{"controller": "uniform", "budget": 20}`; options may be left out.
        ///
        /// [`build`](Self::build) makes the controller. Most variants hold the controller itself, in its state before a
        /// run. A variant that needs a measurement or a file holds its settings or its path.
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
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "controller", rename_all = "kebab-case")]
        #[non_exhaustive]
        #[expect(clippy::large_enum_variant, reason = "made a few times per program")]
        pub enum ControllerSpec {
            $(
                #[doc = concat!("The controller that `", stringify!($spec), "` describes.")]
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
            /// let line = "uniform:LAYERS: LAYERS layers, evenly spread from the first to the last";
            /// assert_eq!(uniform.to_string(), line);
            /// ```
            pub fn all() -> &'static [SpecForm] {
                &[$(<$spec>::FORM,)*]
            }

            /// The inputs besides the model that [`build`](Self::build) takes from the resources, for this controller
            /// and those nested in it.
            ///
            /// ```
            /// use dynlayer_inference::controllers::ControllerSpec;
            /// use std::path::Path;
            ///
            /// let spec: ControllerSpec = "budgeted:18:router:gates.safetensors".parse()?;
            /// assert_eq!(spec.needs().files, [Path::new("gates.safetensors")]);
            /// assert!(!spec.needs().calibration);
            /// # Ok::<(), dynlayer_inference::controllers::SpecError>(())
            /// ```
            pub fn needs(&self) -> Needs {
                match self {
                    $(Self::$variant(spec) => spec::Build::needs(spec),)*
                }
            }

            /// Makes the controller for this model.
            ///
            /// Reads files and measures the model if the specification needs it. The settings are checked against the
            /// model later, when a run begins.
            ///
            /// # Errors
            /// If there is no text to calibrate on, the calibration fails, or a file is refused, cannot be read or was
            /// made for a model of other dimensions.
            pub fn build(
                &self,
                model: &dynlayer_model::Llama,
                resources: &Resources,
            ) -> Result<Box<dyn crate::control::Controller + Send>, BuildError> {
                match self {
                    $(Self::$variant(spec) => spec::Build::build(spec, model, resources),)*
                }
            }
        }

        impl std::fmt::Display for ControllerSpec {
            /// Writes the text that parses into the same specification, without the options that have their defaults.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match spec::write(self) {
                    Some(text) => f.write_str(&text),
                    // A file name that is not Unicode has no JSON form.
                    None => write!(f, "{self:?}"),
                }
            }
        }

        impl std::str::FromStr for ControllerSpec {
            type Err = SpecError;

            fn from_str(text: &str) -> Result<Self, SpecError> {
                spec::read(text)
            }
        }
    };
}
pub(super) use registry;
