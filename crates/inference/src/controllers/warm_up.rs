//! Full depth for the first tokens, then another controller.

use super::ControllerSpec;
use super::spec::{Build, BuildError, Fields, Needs, Resources, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Site};
use burn::tensor::{Bool, Tensor, TensorData};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// Runs the passes that produce the first `tokens` generated tokens of each of a sequence's turns at full depth, and
/// leaves the others to another controller.
///
/// The first generated token counts, even if it comes from the prompt's uncontrolled pass. The inner controller
/// is asked in every pass, so that its state does not depend on the batch; its answer is ignored for rows that are
/// warming up.
///
/// ```
/// use dynlayer_inference::controllers::{UniformSkip, WarmUp};
///
/// let controller = WarmUp::new(4, UniformSkip::new(20));
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp<C> {
    tokens: usize,
    inner: C,
}

impl<C> WarmUp<C> {
    /// Returns a controller that runs full depth for the first `tokens` generated tokens, then follows `inner`.
    pub fn new(tokens: usize, inner: C) -> Self {
        Self { tokens, inner }
    }

    /// The inner controller.
    pub fn inner(&self) -> &C {
        &self.inner
    }
}

impl WarmUp<Box<ControllerSpec>> {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "warmup:TOKENS:CONTROLLER",
        about: "all layers for the first TOKENS generated tokens, then the layers of CONTROLLER",
        fields: Fields::Around("tokens"),
    };
}

impl Build for WarmUp<Box<ControllerSpec>> {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        Ok(Box::new(WarmUp::new(self.tokens, self.inner.build(model, resources)?)))
    }

    fn needs(&self) -> Needs {
        self.inner.needs()
    }
}

impl<C: Controller> Controller for WarmUp<C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let answer = self.inner.decide(site)?;
        let warming: Vec<bool> = site.rows().iter().map(|row| row.generated < self.tokens).collect();
        match answer {
            Decision::Gate(_) if !warming.contains(&false) => Ok(Action::Run.into()),
            Decision::Gate(gate) if warming.contains(&true) && gate.dims()[0] == warming.len() => {
                let (shape, device) = (gate.dims(), gate.device());
                let open = Tensor::<2, Bool>::from_data(TensorData::new(warming, [shape[0], 1]), &device);
                Ok(Decision::Gate(gate.mask_fill(open.expand(shape), 1.0)))
            }
            answer => {
                answer.map_rows(site, |row, action| if row.generated < self.tokens { Action::Run } else { action })
            }
        }
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.inner.on(event)
    }
}
