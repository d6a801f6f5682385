//! The predictor as a controller.

use super::PromptPredictor;
use super::states::Pool;
use crate::control::{Assignment, Batch, Controller, ControllerError, Decision, Dispatcher, Site};
use crate::oracle::{Candidate, ReplayError, replay};
use burn::tensor::{Tensor, TensorData};
use std::collections::HashMap;
use std::fmt;

/// Gives every sequence the candidate that a [`PromptPredictor`] chooses for its prompt.
///
/// It looks at the prompt's pass as it goes through the predictor's layer, and chooses when the first decision is due: one
/// read by the host for the whole batch, once. A prompt of which it sees nothing (one token, or
/// [`ControlFrom::All`](crate::ControlFrom::All)) gets the candidate that is the best in the mean.
///
/// ```
/// use dynlayer_inference::controllers::ExitAfter;
/// use dynlayer_inference::oracle::{Candidate, Evidence, Item, PromptPredictor, PromptRouter, PromptStates, Record};
/// use dynlayer_inference::{ControlFrom, GenerateOptions, generate};
/// # let model = dynlayer_inference::conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
///
/// let items: Vec<Item> =
///     (0..8u32).map(|i| Item { id: i.into(), prompt: vec![i, 5, 9], ..Item::default() }).collect();
/// let evidence = Evidence::new(items.iter().flat_map(|item| {
///     [Record::new(item.id, "exit:1", item.id as f64, 1.0), Record::new(item.id, "full", 4.0, 4.0)]
/// }))?;
/// let states = PromptStates::measure(&model, &items, 1)?;
/// let predictor = PromptPredictor::fit(&evidence, &states, 3.0)?;
/// let candidates = [Candidate::full(), Candidate::new("exit:1", || ExitAfter(1))];
/// let router = PromptRouter::new(predictor, &candidates)?;
/// let prompts: Vec<Vec<u32>> = items.into_iter().map(|item| item.prompt).collect();
/// let mut options = GenerateOptions::default();
/// options.run.control_from = ControlFrom::LastPromptToken;
/// let (_, report) = generate(&model, router, &prompts, options)?.finish()?;
/// assert_eq!(report.decode.host_reads, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PromptRouter {
    predictor: PromptPredictor,
    controllers: Vec<Box<dyn Controller + Send>>,
    pool: Pool,
    /// By sequence, an index into the predictor's candidates.
    chosen: HashMap<u64, usize>,
    split: Dispatcher,
}

impl PromptRouter {
    /// A predictor's router, with its candidates by name.
    ///
    /// # Errors
    /// [`ReplayError`] if a candidate is missing or cannot be made.
    pub fn new(predictor: PromptPredictor, candidates: &[Candidate<'_>]) -> Result<Self, ReplayError> {
        let controllers = predictor.candidates.iter().map(|name| replay::make(name, candidates));
        let controllers = controllers.collect::<Result<_, _>>()?;
        Ok(Self { predictor, controllers, pool: Pool::default(), chosen: HashMap::new(), split: Dispatcher::default() })
    }

    /// The name of the candidate that was chosen for a sequence of the last batch.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.chosen.get(&sequence).map(|index| self.predictor.candidates[*index].as_str())
    }

    fn choose(&mut self, site: &Site<'_>) {
        let predictor = &self.predictor;
        let (width, n) = (predictor.mean.len(), predictor.candidates.len());
        let device = site.hidden().device();
        let mean = Tensor::<1>::from_data(predictor.mean.as_slice(), &device);
        let weights: Vec<f32> = predictor.weights.iter().flatten().copied().collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [n, width]), &device);
        #[expect(clippy::cast_possible_truncation, reason = "compared in f32, as the products are computed")]
        let worth = |(intercept, cost): (&f64, &f64)| (intercept - predictor.price * cost) as f32;
        let worth: Vec<f32> = predictor.intercepts.iter().zip(&predictor.costs).map(worth).collect();
        let worth = Tensor::<1>::from_data(worth.as_slice(), &device).unsqueeze_dim::<2>(0); // [1, candidates]
        let states = self.pool.means(site.rows(), &mean) - mean.clone().unsqueeze_dim::<2>(0); // [rows, d_model]
        let worth = states.matmul(weights.transpose()) + worth; // [rows, candidates]
        let best = site.read(worth.argmax(1).squeeze_dim::<1>(1).float());
        for (row, best) in site.rows().iter().zip(best) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
            self.chosen.insert(row.id, (best as usize).min(n - 1));
        }
    }
}

impl Controller for PromptRouter {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.rows().iter().any(|row| !self.chosen.contains_key(&row.id)) {
            self.choose(site);
        }
        let Self { controllers, chosen, split, .. } = self;
        split.decide(site, controllers, |id| {
            chosen.get(&id).map(|controller| Assignment { controller: *controller, id })
        })
    }

    /// # Errors
    /// If the predictor was made for a model of another width or has a layer too many, or a candidate refuses the batch.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let predictor = &self.predictor;
        batch.check_layer(predictor.layer)?;
        let (expected, n) = (batch.config().d_model, predictor.candidates.len());
        let lengths = [predictor.weights.len(), predictor.costs.len(), predictor.intercepts.len()];
        let widths = predictor.weights.iter().map(Vec::len).chain([predictor.mean.len()]);
        let ok = n > 0 && lengths.iter().all(|length| *length == n) && widths.clone().all(|width| width == expected);
        let found = || format!("{lengths:?} candidates, widths {:?}", widths.clone().collect::<Vec<_>>());
        ControllerError::check(
            ok,
            "the predictor",
            found(),
            format!("{n} candidates, at least 1, of width {expected}"),
        )?;
        self.pool.clear();
        self.chosen.clear();
        self.split = Dispatcher::default();
        self.controllers.iter_mut().try_for_each(|controller| controller.begin(batch))
    }

    fn observe(&mut self, site: &Site<'_>) {
        if site.layer() == self.predictor.layer {
            self.pool.add(site);
        }
        self.controllers.iter_mut().for_each(|controller| controller.observe(site));
    }
}

impl fmt::Debug for PromptRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptRouter").field("candidates", &self.predictor.candidates).finish_non_exhaustive()
    }
}
