//! The predictor as a controller.

use super::PromptPredictor;
use super::states::Pool;
use crate::control::{Controller, ControllerError, Decision, Event, Setup, Site};
use crate::oracle::replay::ChosenCandidates;
use crate::oracle::{Candidate, ReplayError};
use burn::tensor::{Tensor, TensorData};

/// A controller that runs, for every sequence, the candidate that a [`PromptPredictor`] chooses for its prompt.
///
/// It observes the prompt's passes at the predictor's layer, and chooses before the first decision, with one host read
/// for all sequences that are without a choice. A prompt that it cannot observe (of one token, or with
/// [`ControlFrom::All`](crate::ControlFrom::All)) gets the candidate that is best for the mean state. The choice holds
/// for all turns of a sequence, unless its prompt is shortened: then the controller chooses again. It keeps one state
/// for each observed token, `d_model` numbers, until the sequence leaves.
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
    candidates: ChosenCandidates,
}

impl PredictorController {
    /// Creates a controller. The predictor's candidates are looked up by name in `candidates`.
    ///
    /// # Errors
    /// [`ReplayError`] if a candidate is missing or cannot be made.
    pub fn new(predictor: PromptPredictor, candidates: &[Candidate<'_>]) -> Result<Self, ReplayError> {
        let candidates = ChosenCandidates::new(predictor.candidates.clone(), candidates)?;
        Ok(Self { predictor, pool: Pool::default(), candidates })
    }

    /// The name of the candidate that was chosen for a sequence; `None` before the first decision about the sequence,
    /// and after it has left.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.candidates.choice(sequence)
    }

    /// Chooses a candidate for every row.
    fn choose(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
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
        let best = site.read(worth.argmax(1).squeeze_dim::<1>(1).float())?;
        for (row, best) in site.rows().iter().zip(best) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
            self.candidates.chosen.insert(row.id, (best as usize).min(n - 1));
        }
        Ok(())
    }

    /// Refuses a model that the predictor was not trained for.
    fn check(&self, setup: &Setup<'_>) -> Result<(), ControllerError> {
        let predictor = &self.predictor;
        setup.check_layer(predictor.layer)?;
        let (expected, n) = (setup.config().d_model, predictor.candidates.len());
        let lengths = [predictor.weights.len(), predictor.costs.len(), predictor.intercepts.len()];
        let widths = predictor.weights.iter().map(Vec::len).chain([predictor.mean.len()]);
        let ok = n > 0 && lengths.iter().all(|length| *length == n) && widths.clone().all(|width| width == expected);
        let found = format!("{lengths:?} weights, costs, intercepts; widths {:?}", widths.collect::<Vec<_>>());
        ControllerError::check(
            ok,
            "the shape of the predictor",
            found,
            format!("{n} of each (at least 1), width {expected}"),
        )
    }
}

impl Controller for PredictorController {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let chosen = &self.candidates.chosen;
        let rows = site.rows().iter().enumerate().filter(|(_, row)| row.asked && !chosen.contains_key(&row.id));
        let without: Vec<usize> = rows.map(|(index, _)| index).collect();
        if !without.is_empty() {
            site.part(&without, |site| self.choose(site))?;
        }
        self.candidates.decide(site)
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        if site.layer() == self.predictor.layer {
            self.pool.add(site, |id| !self.candidates.chosen.contains_key(&id));
        }
        self.candidates.observe(site)
    }

    /// # Errors
    /// If the predictor was trained on a model of another width, the model lacks its layer, or a candidate refuses.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(setup) => {
                self.check(setup)?;
                self.pool = Pool::default();
            }
            // If nothing is left after the tokens that the choice was made from, the next tokens belong to the prompt
            // too.
            Event::Rewind { id, tokens } if *tokens <= self.pool.tokens(*id) => {
                self.candidates.chosen.remove(id);
                self.pool.truncate(*id, *tokens);
            }
            // Every candidate has observed the sequence until its choice, so every candidate forgets it.
            Event::End { id } => {
                self.candidates.chosen.remove(id);
                self.pool.truncate(*id, 0);
            }
            _ => {}
        }
        self.candidates.on(event)?;
        if let Event::Begin(sequence) = event
            && let Some(original) = sequence.copy_of
        {
            self.pool.copy(original, sequence.id);
            if let Some(choice) = self.candidates.chosen.get(&original).copied() {
                self.candidates.chosen.insert(sequence.id, choice);
            }
        }
        Ok(())
    }
}
