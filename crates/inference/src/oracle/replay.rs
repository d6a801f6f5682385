//! Replay of the oracle's choices.

use super::Candidate;
use crate::control::{Assignment, Batch, Controller, ControllerError, Decision, Dispatcher, Site};
use crate::controllers::BuildError;
use dynlayer_metrics::allocation::{Allocation, Evidence};
use std::collections::HashMap;
use std::fmt;

/// A controller that runs an allocation: every sequence runs under the candidate that was chosen for it. A batch may
/// mix candidates.
///
/// With the settings of the measurement (the same ids, [`ControlFrom::LastPromptToken`](crate::ControlFrom), the same
/// seed and options), it reaches the table's quality and depth. The run fails if the allocation does not name a
/// sequence, or a candidate returns a [`Decision::Gate`].
///
/// ```
/// use dynlayer_inference::controllers::{ExitAfter, FullDepth};
/// use dynlayer_inference::oracle::{Candidate, OracleController};
/// use dynlayer_inference::{ControlFrom, GenerateOptions, RunSettings, generate};
/// use dynlayer_metrics::allocation::{Allocator, Evidence, Record};
/// # let model = dynlayer_inference::conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
///
/// let evidence = Evidence::new([
///     Record::new(7, "exit:1", 0.9, 1.0),
///     Record::new(7, "full", 0.9, 4.0),
///     Record::new(8, "exit:1", 0.1, 1.0),
///     Record::new(8, "full", 0.8, 4.0),
/// ])?;
/// let allocation = Allocator::new(&evidence)?.least_cost(0.85)?;
/// let candidates = [Candidate::full(), Candidate::new("exit:1", || ExitAfter(1))];
/// let oracle = OracleController::new(&evidence, &allocation, &candidates)?;
/// let options = GenerateOptions {
///     sequence_ids: vec![8, 7],
///     run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
///     max_new_tokens: 3,
///     ..GenerateOptions::default()
/// };
/// let (_, report) = generate(&model, oracle, &[vec![1, 2], vec![3]], options)?.finish()?;
/// let depths: Vec<f64> = report.sequences.iter().filter_map(|sequence| sequence.depth()).collect();
/// assert_eq!(depths, [model.layers().len() as f64, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OracleController {
    names: Vec<String>,
    /// The controller of each name.
    controllers: Vec<Box<dyn Controller + Send>>,
    /// The index into `names` and `controllers` for each sequence id.
    pub(super) chosen: HashMap<u64, usize>,
    dispatcher: Dispatcher,
}

/// The error for choices that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The allocation does not belong to the evidence, since it does not have one choice per sequence.
    #[error("the allocation: expected a choice for each of the evidence's {expected} sequences, found {found}")]
    Choices {
        /// Number of the evidence's sequences.
        expected: usize,
        /// Number of the allocation's choices.
        found: usize,
    },
    /// A chosen candidate is not among those given.
    #[error("expected candidate {candidate:?} among those given, found {found}")]
    Missing {
        /// The candidate's name.
        candidate: String,
        /// The names that were given.
        found: String,
    },
    /// A candidate's controller cannot be made.
    #[error("candidate {candidate:?}")]
    Candidate {
        /// The candidate's name.
        candidate: String,
        /// The cause.
        source: Box<BuildError>,
    },
}

impl OracleController {
    /// Creates a controller that runs an allocation. The chosen candidates are looked up by name in `candidates`, which
    /// may lack those that were never chosen.
    ///
    /// # Errors
    /// [`ReplayError`] if the allocation does not belong to the evidence, a chosen candidate is missing, or its
    /// controller cannot be made.
    pub fn new(
        evidence: &Evidence,
        allocation: &Allocation,
        candidates: &[Candidate<'_>],
    ) -> Result<Self, ReplayError> {
        let (expected, found) = (evidence.sequences().len(), allocation.choices.len());
        if expected != found {
            return Err(ReplayError::Choices { expected, found });
        }
        let mut names: Vec<String> = Vec::new();
        let mut chosen = HashMap::new();
        for (sequence, name) in allocation.named(evidence) {
            let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            chosen.insert(sequence, index);
        }
        Ok(Self { chosen, ..Self::unchosen(names, candidates)? })
    }

    /// Creates a controller of the candidates with these names, without a choice for any sequence.
    pub(super) fn unchosen(names: Vec<String>, candidates: &[Candidate<'_>]) -> Result<Self, ReplayError> {
        let make = |name: &String| {
            let candidate = name.clone();
            let Some(found) = candidates.iter().find(|candidate| candidate.name() == name) else {
                let found = candidates.iter().map(Candidate::name).collect::<Vec<_>>().join(", ");
                return Err(ReplayError::Missing { candidate, found });
            };
            found.controller().map_err(|source| ReplayError::Candidate { candidate, source: Box::new(source) })
        };
        let controllers = names.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { names, controllers, chosen: HashMap::new(), dispatcher: Dispatcher::default() })
    }

    /// The name of a sequence's candidate; `None` if the allocation does not name the sequence.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.chosen.get(&sequence).map(|index| self.names[*index].as_str())
    }

    /// Forgets all choices, and begins a batch with every controller, since no sequence of the batch has a choice yet.
    pub(super) fn begin_unchosen(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        self.chosen.clear();
        self.dispatcher = Dispatcher::default();
        self.controllers.iter_mut().try_for_each(|controller| controller.begin(batch))
    }

    /// Lets every controller observe a batch without choices.
    pub(super) fn observe_unchosen(&mut self, site: &Site<'_>) {
        self.controllers.iter_mut().for_each(|controller| controller.observe(site));
    }
}

impl Controller for OracleController {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let Self { controllers, chosen, dispatcher, .. } = self;
        dispatcher.decide(site, controllers, |id| assignment(chosen, id))
    }

    /// # Errors
    /// If the allocation does not name a sequence, or a chosen controller refuses.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let Self { controllers, chosen, dispatcher, .. } = self;
        dispatcher.begin(batch, controllers, |id| assignment(chosen, id))
    }

    fn observe(&mut self, site: &Site<'_>) {
        let Self { controllers, chosen, dispatcher, .. } = self;
        dispatcher.observe(site, controllers, |id| assignment(chosen, id));
    }
}

fn assignment(chosen: &HashMap<u64, usize>, id: u64) -> Option<Assignment> {
    chosen.get(&id).map(|controller| Assignment { controller: *controller, id })
}

impl fmt::Debug for OracleController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OracleController")
            .field("candidates", &self.names)
            .field("chosen", &self.chosen)
            .finish_non_exhaustive()
    }
}
