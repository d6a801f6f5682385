//! A controller for each sequence.

use crate::control::{Controller, ControllerError, Decision, Event, Site};
use std::collections::BTreeMap;
use std::fmt;

/// A controller that holds another for each sequence.
///
/// A sequence's controller is [inserted](Self::insert) before the sequence joins. It sees its sequence as if that were
/// alone: its run starts when the sequence joins. When the sequence ends, the controller is dropped; insert a `&mut` to
/// a controller that is needed afterwards.
///
/// A sequence without a controller is [`ControllerError::NoController`]. The error of a sequence's controller is the
/// source of a [`ControllerError::Sequence`].
///
/// ```
/// use dynlayer_inference::controllers::{ExitAfter, FullDepth, PerSequence};
/// use dynlayer_inference::{ControlFrom, Controller, GenerateOptions, RunSettings, generate};
/// # let model = dynlayer_inference::conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
///
/// let mut controllers: PerSequence<Box<dyn Controller + Send>> = PerSequence::new();
/// controllers.insert(0, Box::new(FullDepth)); // by default a sequence's id is its index among the prompts
/// controllers.insert(1, Box::new(ExitAfter(2)));
/// let options = GenerateOptions {
///     run: RunSettings { control_from: ControlFrom::LastPromptToken, ..RunSettings::default() },
///     max_new_tokens: 3,
///     ..GenerateOptions::default()
/// };
/// let (_, report) = generate(&model, controllers, &[vec![1, 2], vec![3]], options)?.finish()?;
/// let depths: Vec<f64> = report.sequences.iter().filter_map(|sequence| sequence.depth()).collect();
/// assert_eq!(depths, [model.layers().len() as f64, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PerSequence<C> {
    /// By id, in order, so that of several errors always the same one is found first.
    controllers: BTreeMap<u64, Held<C>>,
}

/// The controller of one sequence.
#[derive(Clone)]
struct Held<C> {
    controller: C,
    /// `true` for a copy of another sequence's controller until its sequence joins, which then must not start it anew.
    copied: bool,
}

impl<C> Default for PerSequence<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> PerSequence<C> {
    /// Returns a controller for no sequence yet.
    pub fn new() -> Self {
        Self { controllers: BTreeMap::new() }
    }

    /// Sets the controller of a sequence that has not joined yet, and returns the one that was set before.
    pub fn insert(&mut self, id: u64, controller: C) -> Option<C> {
        self.controllers.insert(id, Held { controller, copied: false }).map(|held| held.controller)
    }

    /// Gives a sequence that is about to join as a copy of the sequence `copy_of` a copy of that one's controller, with
    /// all that it knows. (A clone that is inserted starts anew instead.)
    ///
    /// # Errors
    /// [`ControllerError::NoController`] if the sequence `copy_of` has no controller.
    pub fn insert_copy(&mut self, id: u64, copy_of: u64) -> Result<(), ControllerError>
    where
        C: Clone,
    {
        let controller = self.held(copy_of)?.controller.clone();
        self.controllers.insert(id, Held { controller, copied: true });
        Ok(())
    }

    /// The controller of a sequence.
    pub fn get(&self, id: u64) -> Option<&C> {
        self.controllers.get(&id).map(|held| &held.controller)
    }

    /// The controller of a sequence, to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut C> {
        self.controllers.get_mut(&id).map(|held| &mut held.controller)
    }

    /// Removes and returns the controller of a sequence.
    pub fn remove(&mut self, id: u64) -> Option<C> {
        self.controllers.remove(&id).map(|held| held.controller)
    }

    fn held(&mut self, id: u64) -> Result<&mut Held<C>, ControllerError> {
        self.controllers.get_mut(&id).ok_or(ControllerError::NoController { sequence: id })
    }

    /// Calls `f` with the controller of a sequence. An error of `f` names the sequence.
    fn with<R>(
        &mut self,
        id: u64,
        f: impl FnOnce(&mut Held<C>) -> Result<R, ControllerError>,
    ) -> Result<R, ControllerError> {
        f(self.held(id)?).map_err(|error| of_sequence(id, error))
    }
}

/// Names the sequence whose controller failed. The failure of a device is that of all.
fn of_sequence(sequence: u64, error: ControllerError) -> ControllerError {
    match error {
        ControllerError::Device(_) => error,
        error => ControllerError::Sequence { sequence, source: Box::new(error) },
    }
}

impl<C: Controller> Controller for PerSequence<C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        site.decide_by(|row| Ok(row.id), |id, part| self.with(id, |held| held.controller.decide(part)))
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        site.observe_by(|row| Ok(row.id), |id, part| self.with(id, |held| held.controller.observe(part)))
    }

    /// # Errors
    /// If the sequence has no controller, or its controller fails.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            // Each controller is started when its sequence joins.
            Event::Start(_) => Ok(()),
            Event::Begin(sequence) => self.with(sequence.id, |held| {
                let copied = std::mem::take(&mut held.copied);
                if sequence.joins && !copied {
                    held.controller.on(&Event::Start(&sequence.setup))?;
                }
                held.controller.on(event)?;
                match sequence.copy_of {
                    // The copy also knows the sequence that it was copied from, which is another controller's.
                    Some(id) if copied => held.controller.on(&Event::End { id }),
                    _ => Ok(()),
                }
            }),
            Event::End { id } => match self.remove(*id) {
                Some(mut controller) => controller.on(event).map_err(|error| of_sequence(*id, error)),
                None => Ok(()),
            },
            _ => self.controllers.iter_mut().try_for_each(|(id, held)| {
                let answer = event.part(|other| other == *id, |event| held.controller.on(event));
                answer.map_err(|error| of_sequence(*id, error))
            }),
        }
    }
}

impl<C> fmt::Debug for PerSequence<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequences: Vec<&u64> = self.controllers.keys().collect();
        f.debug_struct("PerSequence").field("sequences", &sequences).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::small_model;
    use crate::control::{Action, RunSettings, Sequence, Setup};
    use burn::tensor::Device;

    /// Remembers the events that it has seen.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Seen(Vec<&'static str>);

    impl Controller for Seen {
        fn decide(&mut self, _: &Site<'_>) -> Result<Decision, ControllerError> {
            Ok(Action::Run.into())
        }

        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            self.0.push(match event {
                Event::Start(_) => "start",
                Event::Begin(_) => "begin",
                Event::Rewind { .. } => "rewind",
                Event::End { .. } => "end",
                _ => "other",
            });
            match event {
                Event::Rewind { tokens: 0, .. } => Err(ControllerError::other("all of it")),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn controllers_see_their_own_sequence() {
        let model = small_model(&Device::flex()).unwrap();
        let setup = Setup { model: &model, settings: RunSettings::default() };
        let sequence =
            |id, joins, copy_of| Sequence { setup, id, stream: id, seed: 0, tokens: &[1], cached: 0, joins, copy_of };
        let mut all = PerSequence::new();
        assert!(all.insert(1, Seen::default()).is_none() && all.insert(2, Seen::default()).is_none());
        all.on(&Event::Start(&setup)).unwrap();
        all.on(&Event::Begin(&sequence(1, true, None))).unwrap();
        all.on(&Event::Begin(&sequence(1, false, None))).unwrap();
        all.on(&Event::Rewind { id: 1, tokens: 3 }).unwrap();
        let first = ["start", "begin", "begin", "rewind"];
        assert_eq!(all.get(1).unwrap().0, first);
        assert_eq!(all.get(2).unwrap().0.len(), 0, "it has not joined");

        // A copy goes on with what the original knows of the sequence, and forgets the original itself.
        all.insert_copy(3, 1).unwrap();
        all.on(&Event::Begin(&sequence(3, true, Some(1)))).unwrap();
        assert_eq!(all.get(3).unwrap().0, [&first[..], &["begin", "end"]].concat());

        let error = all.on(&Event::Rewind { id: 1, tokens: 0 }).unwrap_err();
        assert!(matches!(error, ControllerError::Sequence { sequence: 1, .. }), "{error}");
        all.on(&Event::End { id: 1 }).unwrap();
        assert!(all.get_mut(1).is_none() && all.remove(2).is_some());
        for id in [1, 2, 9] {
            let error = all.on(&Event::Begin(&sequence(id, true, None))).unwrap_err();
            assert!(matches!(error, ControllerError::NoController { sequence } if sequence == id), "{error}");
            assert!(all.insert_copy(4, id).is_err());
        }
    }
}
