//! Replay of the oracle's choices.

use super::Candidate;
use crate::control::{Controller, ControllerError, Decision, Event, Site};
use crate::controllers::BuildError;
use dynlayer_metrics::allocation::{Allocation, Evidence};
use std::collections::HashMap;
use std::fmt;

/// A controller that runs an allocation: every sequence runs under the candidate that was chosen for it. A batch may
/// mix candidates. The allocation names sequences by their [stream](crate::Row::stream), so a copy of a sequence runs
/// under the candidate of its original.
///
/// With the settings of the measurement (the same ids, [`ControlFrom::LastPromptToken`](crate::ControlFrom), the same
/// seed and options), it reaches the table's quality and depth. The run fails if the allocation does not name a
/// sequence, or if a candidate returns a [`Decision::Gate`] while other sequences run under other candidates.
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
#[derive(Debug)]
pub struct OracleController {
    /// The candidate of each sequence that the allocation names, as an index.
    choices: HashMap<u64, usize>,
    candidates: ChosenCandidates,
}

/// The controllers of candidates, each of which runs the sequences that it was chosen for. A sequence without a choice
/// is observed by all of them.
pub(super) struct ChosenCandidates {
    names: Vec<String>,
    /// The controller of each name.
    controllers: Vec<Box<dyn Controller + Send>>,
    /// The candidate of each running sequence, as an index, by the sequence's id.
    pub(super) chosen: HashMap<u64, usize>,
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
        let mut choices = HashMap::new();
        for (sequence, name) in allocation.named(evidence) {
            let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            choices.insert(sequence, index);
        }
        Ok(Self { choices, candidates: ChosenCandidates::new(names, candidates)? })
    }

    /// The name of a sequence's candidate; `None` if the allocation does not name the sequence.
    pub fn choice(&self, sequence: u64) -> Option<&str> {
        self.choices.get(&sequence).map(|index| self.candidates.names[*index].as_str())
    }
}

impl Controller for OracleController {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        self.candidates.decide(site)
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.candidates.observe(site)
    }

    /// # Errors
    /// If the allocation does not name a sequence, or a candidate refuses.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        if let Event::Begin(sequence) = event {
            let none = ControllerError::NoController { sequence: sequence.id };
            let choice = self.choices.get(&sequence.stream).ok_or(none)?;
            self.candidates.chosen.insert(sequence.id, *choice);
        }
        self.candidates.on(event)
    }
}

impl ChosenCandidates {
    /// Makes the controllers of the candidates with these names. No sequence has a choice yet.
    pub(super) fn new(names: Vec<String>, candidates: &[Candidate<'_>]) -> Result<Self, ReplayError> {
        let make = |name: &String| {
            let candidate = name.clone();
            let Some(found) = candidates.iter().find(|candidate| candidate.name() == name) else {
                let found = candidates.iter().map(Candidate::name).collect::<Vec<_>>().join(", ");
                return Err(ReplayError::Missing { candidate, found });
            };
            found.controller().map_err(|source| ReplayError::Candidate { candidate, source: Box::new(source) })
        };
        let controllers = names.iter().map(make).collect::<Result<_, _>>()?;
        Ok(Self { names, controllers, chosen: HashMap::new() })
    }

    /// The name of the candidate that was chosen for a sequence.
    pub(super) fn choice(&self, sequence: u64) -> Option<&str> {
        self.chosen.get(&sequence).map(|index| self.names[*index].as_str())
    }
}

impl Controller for ChosenCandidates {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let Self { controllers, chosen, .. } = self;
        site.decide_by(
            |row| chosen.get(&row.id).copied().ok_or(ControllerError::NoController { sequence: row.id }),
            |choice, site| controllers[choice].decide(site),
        )
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        let Self { controllers, chosen, .. } = self;
        site.observe_by(
            |row| Ok(chosen.get(&row.id).copied()),
            |choice, site| match choice {
                Some(choice) => controllers[choice].observe(site),
                None => controllers.iter_mut().try_for_each(|controller| controller.observe(site)),
            },
        )
    }

    /// Tells each controller of the sequences that it was chosen for and of those without a choice.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Self { controllers, chosen, .. } = self;
        if let Event::Start(_) = event {
            chosen.clear();
        }
        for (index, controller) in controllers.iter_mut().enumerate() {
            let runs = |id: u64| chosen.get(&id).is_none_or(|choice| *choice == index);
            event.part(runs, |event| controller.on(event))?;
        }
        if let Event::End { id } = event {
            chosen.remove(id);
        }
        Ok(())
    }
}

impl fmt::Debug for ChosenCandidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChosenCandidates")
            .field("candidates", &self.names)
            .field("chosen", &self.chosen)
            .finish_non_exhaustive()
    }
}
