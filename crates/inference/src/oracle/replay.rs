//! The oracle's choices, run.

use super::{Allocation, Candidate, Evidence};
use crate::control::{Assignment, Batch, Controller, ControllerError, Decision, Dispatcher, Site};
use crate::controllers::BuildError;
use std::collections::HashMap;
use std::fmt;

/// Runs an allocation: every sequence by the controller that was chosen for it, in batches of any mix.
///
/// Run as the evidence was measured (the same ids, [`ControlFrom::LastPromptToken`](crate::ControlFrom), the same seed
/// and options), it reaches the table's quality and depth. It ends the run for a sequence that the allocation does not
/// name, and for a controller that answers with a [`Decision::Gate`].
///
/// ```
/// use dynlayer_inference::controllers::{ExitAfter, FullDepth};
/// use dynlayer_inference::oracle::{Allocator, Candidate, Evidence, OracleController, Record};
/// use dynlayer_inference::{ControlFrom, GenerateOptions, RunSettings, generate};
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
    controllers: Vec<Box<dyn Controller + Send>>,
    /// By sequence, an index into both.
    chosen: HashMap<u64, usize>,
    split: Dispatcher,
}

/// Why choices cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The choices are not those of the evidence.
    #[error("the allocation: expected a choice for each of the evidence's {expected} sequences, found {found}")]
    Choices {
        /// The evidence's sequences.
        expected: usize,
        /// The allocation's choices.
        found: usize,
    },
    /// A chosen candidate is not among those given.
    #[error("expected candidate {candidate:?} among those given, found {found}")]
    Missing {
        /// Its name.
        candidate: String,
        /// The names that were given.
        found: String,
    },
    /// A candidate's controller cannot be made.
    #[error("candidate {candidate:?}")]
    Candidate {
        /// Its name.
        candidate: String,
        /// Why.
        source: Box<BuildError>,
    },
}

impl OracleController {
    /// The controller of an allocation. `candidates` are looked up by name; those that were never chosen may be missing.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn new(
        evidence: &Evidence,
        allocation: &Allocation,
        candidates: &[Candidate<'_>],
    ) -> Result<Self, ReplayError> {
        let (expected, found) = (evidence.sequences().len(), allocation.choices.len());
        if expected != found {
            return Err(ReplayError::Choices { expected, found });
        }
        let (mut names, mut controllers, mut chosen) = (Vec::<String>::new(), Vec::new(), HashMap::new());
        for (sequence, name) in allocation.named(evidence) {
            let index = match names.iter().position(|known| known == name) {
                Some(index) => index,
                None => {
                    controllers.push(make(name, candidates)?);
                    names.push(name.to_owned());
                    names.len() - 1
                }
            };
            chosen.insert(sequence, index);
        }
        Ok(Self { names, controllers, chosen, split: Dispatcher::default() })
    }

    /// The name of a sequence's candidate.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.chosen.get(&sequence).map(|index| self.names[*index].as_str())
    }
}

/// A controller of the candidate of that name.
pub(super) fn make(name: &str, candidates: &[Candidate<'_>]) -> Result<Box<dyn Controller + Send>, ReplayError> {
    let candidate = name.to_owned();
    let Some(found) = candidates.iter().find(|candidate| candidate.name() == name) else {
        let found = candidates.iter().map(Candidate::name).collect::<Vec<_>>().join(", ");
        return Err(ReplayError::Missing { candidate, found });
    };
    found.controller().map_err(|source| ReplayError::Candidate { candidate, source: Box::new(source) })
}

impl Controller for OracleController {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        let Self { controllers, chosen, split, .. } = self;
        split.decide(site, controllers, |id| share(chosen, id))
    }

    /// # Errors
    /// If the allocation does not name a sequence, or a chosen controller refuses.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let Self { controllers, chosen, split, .. } = self;
        split.begin(batch, controllers, |id| share(chosen, id))
    }

    fn observe(&mut self, site: &Site<'_>) {
        let Self { controllers, chosen, split, .. } = self;
        split.observe(site, controllers, |id| share(chosen, id));
    }
}

fn share(chosen: &HashMap<u64, usize>, id: u64) -> Option<Assignment> {
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
