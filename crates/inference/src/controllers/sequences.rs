//! State that a controller keeps for each sequence.

use crate::control::Event;
use std::collections::HashMap;

/// The state of each sequence, by id, which follows the sequences as they join, are copied, are shortened and leave.
///
/// A controller that keeps such state forwards its events to [`on`](Self::on):
///
/// ```
/// use dynlayer_inference::conformance::{self, Rule};
/// use dynlayer_inference::controllers::{Passes, Sequences};
/// use dynlayer_inference::{Action, Controller, ControllerError, Decision, Event, Site};
///
/// /// Runs fewer layers while the model is sure: half of them after a token of more than 90 % probability.
/// #[derive(Default)]
/// struct AfterSureTokens {
///     sure: Sequences<Passes<bool>>,
/// }
///
/// impl Controller for AfterSureTokens {
///     fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
///         let sure = |id| self.sure.get(id).and_then(Passes::last).copied().unwrap_or(false);
///         let skips = site.layer() % 2 == 1;
///         let action = |id| if skips && sure(id) { Action::Skip } else { Action::Run };
///         Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
///     }
///
///     fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
///         self.sure.on(event);
///         if let Event::Outcome(outcome) = event {
///             for row in outcome.rows() {
///                 let sure = row.log_probability()? > 0.9_f64.ln();
///                 self.sure.entry(row.id()).push(row.row().position, sure);
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let model = conformance::small_model(&dynlayer_model::Backend::Flex.device()?)?;
/// conformance::check(&model, Rule::ALL, AfterSureTokens::default)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences<T>(HashMap<u64, T>);

/// State that can forget what it learned from a sequence's last tokens.
pub trait Rewind {
    /// Forgets what came from the tokens at position `tokens` and later.
    fn rewind(&mut self, tokens: usize);
}

impl<T> Default for Sequences<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone + Default + Rewind> Sequences<T> {
    /// Updates the state of the sequence that the event is about. A sequence that joins as a copy gets a copy of the
    /// other one's state.
    pub fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(_) => self.0.clear(),
            Event::Begin(sequence) if sequence.joins => {
                let copied = sequence.copy_of.and_then(|id| self.0.get(&id)).cloned();
                self.0.remove(&sequence.id);
                self.0.extend(copied.map(|state| (sequence.id, state)));
            }
            Event::Rewind { id, tokens } => {
                if let Some(state) = self.0.get_mut(id) {
                    state.rewind(*tokens);
                }
            }
            Event::End { id } => {
                self.0.remove(id);
            }
            _ => {}
        }
    }

    /// The state of a sequence, if there is any yet.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.0.get(&id)
    }

    /// The state of a sequence, which is the default one at first.
    pub fn entry(&mut self, id: u64) -> &mut T {
        self.0.entry(id).or_default()
    }

    /// The ids and states of all sequences that have any state.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.0.iter().map(|(id, state)| (*id, state))
    }
}

/// One value for each pass of a sequence so far, with the position of the pass's last token.
///
/// A rewind takes back the passes whose last token it drops.
#[derive(Clone, Debug, PartialEq)]
pub struct Passes<T>(Vec<(usize, T)>);

impl<T> Default for Passes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Passes<T> {
    /// Adds a pass whose last token is at this position.
    pub fn push(&mut self, position: usize, value: T) {
        self.0.push((position, value));
    }

    /// The number of passes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there was no pass.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The position of the last token of the last pass.
    pub fn last_position(&self) -> Option<usize> {
        self.0.last().map(|(position, _)| *position)
    }

    /// The value of the last pass.
    pub fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// The value of the last pass, to be changed.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.0.last_mut().map(|(_, value)| value)
    }
}

impl<T> Rewind for Passes<T> {
    fn rewind(&mut self, tokens: usize) {
        self.0.truncate(self.0.partition_point(|(position, _)| *position < tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::small_model;
    use crate::control::{RunSettings, Sequence, Setup};
    use burn::tensor::Device;

    #[test]
    fn state_follows_its_sequence() {
        let model = small_model(&Device::flex()).unwrap();
        let setup = Setup { model: &model, settings: RunSettings::default() };
        let begin =
            |id, joins, copy_of| Sequence { setup, id, stream: id, seed: 0, tokens: &[1], cached: 0, joins, copy_of };
        let mut states: Sequences<Passes<char>> = Sequences::default();
        for (position, value) in [(2, 'a'), (5, 'b'), (6, 'c')] {
            states.entry(1).push(position, value);
        }
        states.on(&Event::Begin(&begin(2, true, Some(1))));
        states.on(&Event::Begin(&begin(1, false, None)));
        states.on(&Event::Rewind { id: 1, tokens: 5 });
        let passes =
            |states: &Sequences<Passes<char>>, id| states.get(id).map(|passes| (passes.len(), passes.last().copied()));
        assert_eq!(
            passes(&states, 1),
            Some((1, Some('a'))),
            "a later turn keeps the state, a rewind takes passes back"
        );
        assert_eq!(passes(&states, 2), Some((3, Some('c'))), "the copy keeps its own");
        states.on(&Event::End { id: 2 });
        assert_eq!(passes(&states, 2), None);
        states.on(&Event::Begin(&begin(1, true, None)));
        assert_eq!(passes(&states, 1), None, "another sequence of the same id");
        states.entry(3).push(0, 'd');
        states.on(&Event::Start(&setup));
        assert_eq!(states.iter().count(), 0);
    }
}
