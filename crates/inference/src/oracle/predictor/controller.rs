//! The predictor as a controller.

use super::PromptPredictor;
use super::states::Pool;
use crate::control::{Batch, Controller, ControllerError, Decision, Site};
use crate::oracle::{Candidate, OracleController, ReplayError};
use burn::tensor::{Tensor, TensorData};

/// A controller that runs, for every sequence, the candidate that a [`PromptPredictor`] chooses for its prompt.
///
/// It observes the prompt's pass at the predictor's layer, and chooses before the first decision, with one host read
/// for the whole batch. A prompt that it cannot observe (of one token, or with
/// [`ControlFrom::All`](crate::ControlFrom::All)) gets the candidate that is best for the mean state.
///
/// ```
/// use dynlayer_inference::controllers::ExitAfter;
/// use dynlayer_inference::oracle::{Candidate, Item, PredictorController, PromptPredictor, PromptStates};
/// use dynlayer_inference::{ControlFrom, GenerateOptions, generate};
/// use dynlayer_metrics::allocation::{Evidence, Record};
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
/// let controller = PredictorController::new(predictor, &candidates)?;
/// let prompts: Vec<Vec<u32>> = items.into_iter().map(|item| item.prompt).collect();
/// let mut options = GenerateOptions::default();
/// options.run.control_from = ControlFrom::LastPromptToken;
/// let (_, report) = generate(&model, controller, &prompts, options)?.finish()?;
/// assert_eq!(report.decode.host_reads, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictorController {
    predictor: PromptPredictor,
    pool: Pool,
    /// Holds the candidate chosen for each sequence so far, and runs it.
    choices: OracleController,
}

impl PredictorController {
    /// Creates a controller. The predictor's candidates are looked up by name in `candidates`.
    ///
    /// # Errors
    /// [`ReplayError`] if a candidate is missing or cannot be made.
    pub fn new(predictor: PromptPredictor, candidates: &[Candidate<'_>]) -> Result<Self, ReplayError> {
        let choices = OracleController::unchosen(predictor.candidates.clone(), candidates)?;
        Ok(Self { predictor, pool: Pool::default(), choices })
    }

    /// The name of the candidate that was chosen for a sequence of the last batch; `None` if none was chosen.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.choices.choice(sequence)
    }

    /// Chooses a candidate for every row.
    fn choose(&mut self, site: &Site<'_>) {
        let predictor = &self.predictor;
        let (width, n) = (predictor.mean.len(), predictor.candidates.len());
        let device = site.hidden().device();
        let mean = Tensor::<1>::from_data(predictor.mean.as_slice(), &device);
        let weights: Vec<f32> = predictor.weights.iter().flatten().copied().collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [n, width]), &device);
        #[expect(clippy::cast_possible_truncation, reason = "added to products that are computed in f32")]
        let worth = |(intercept, cost): (&f64, &f64)| (intercept - predictor.price * cost) as f32;
        let worth: Vec<f32> = predictor.intercepts.iter().zip(&predictor.costs).map(worth).collect();
        let worth = Tensor::<1>::from_data(worth.as_slice(), &device).unsqueeze_dim::<2>(0); // [1, candidates]
        let states = self.pool.means(site.rows(), &mean) - mean.clone().unsqueeze_dim::<2>(0); // [rows, d_model]
        let worth = states.matmul(weights.transpose()) + worth; // [rows, candidates]
        let best = site.read(worth.argmax(1).squeeze_dim::<1>(1).float());
        for (row, best) in site.rows().iter().zip(best) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
            self.choices.chosen.insert(row.id, (best as usize).min(n - 1));
        }
    }
}

impl Controller for PredictorController {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.rows().iter().any(|row| self.choice(row.id).is_none()) {
            self.choose(site);
        }
        self.choices.decide(site)
    }

    /// # Errors
    /// If the predictor was trained on a model of another width, the model lacks its layer, or a candidate refuses the
    /// batch.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let predictor = &self.predictor;
        batch.check_layer(predictor.layer)?;
        let (expected, n) = (batch.config().d_model, predictor.candidates.len());
        let lengths = [predictor.weights.len(), predictor.costs.len(), predictor.intercepts.len()];
        let widths = predictor.weights.iter().map(Vec::len).chain([predictor.mean.len()]);
        let ok = n > 0 && lengths.iter().all(|length| *length == n) && widths.clone().all(|width| width == expected);
        let found = format!("{lengths:?} weights, costs, intercepts; widths {:?}", widths.collect::<Vec<_>>());
        ControllerError::check(
            ok,
            "the shape of the predictor",
            found,
            format!("{n} of each (at least 1), width {expected}"),
        )?;
        self.pool = Pool::default();
        self.choices.begin_unchosen(batch)
    }

    fn observe(&mut self, site: &Site<'_>) {
        if site.layer() == self.predictor.layer {
            self.pool.add(site);
        }
        self.choices.observe_unchosen(site);
    }
}
