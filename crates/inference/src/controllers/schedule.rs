//! A budget that shrinks with the position.

use super::spec::{Fields, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Row, Site};
use serde::{Deserialize, Serialize};

/// Runs fewer layers at later positions: `SkipDecode` (Del Corro et al. 2023, arXiv 2307.02628, section 3).
///
/// At position `p` (from 0 at the first prompt token) the budget is
///
/// ```text
/// b(p) = max                                                       p <= from
/// b(p) = floor(max - (max - min) (p - from) / (to - from) + 1/2)   from < p < to
/// b(p) = min                                                       p >= to
/// ```
///
/// Of these layers `warm_up` run at the bottom and the others at the top: layers `0..warm_up` and
/// `n - (b - warm_up)..n` of `n`. The budget never grows, and the layers of a smaller budget are among those of a
/// larger one. So if a token runs a layer, all earlier controlled tokens have run it too, and their keys and values are
/// in the cache.
///
/// ```
/// use dynlayer_inference::controllers::Schedule;
///
/// let schedule = Schedule { max: 8, min: 4, from: 0, to: 100, warm_up: 1 };
/// assert_eq!([0, 49, 50, 100, 500].map(|p| schedule.budget(p)), [8, 6, 6, 4, 4]);
/// assert!(schedule.runs(0, 100, 10) && !schedule.runs(1, 100, 10) && schedule.runs(7, 100, 10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The largest budget of layers per token.
    pub max: usize,
    /// The smallest budget of layers per token.
    pub min: usize,
    /// The last position with the largest budget.
    #[serde(default)]
    pub from: usize,
    /// The first position with the smallest budget.
    pub to: usize,
    /// The number of layers at the bottom that always run; they are part of the budget.
    #[serde(default = "one")]
    pub warm_up: usize,
}

fn one() -> usize {
    1
}

impl Schedule {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "schedule:MAX..MIN,to=POSITION[,from=POSITION][,warmup=LAYERS]",
        about: "MAX layers at position 0, falling to MIN at POSITION; lower layers are dropped first",
        fields: Fields::Values(&["max", "min"], &[("to", "to"), ("from", "from"), ("warmup", "warm_up")]),
    };

    /// The number of layers that a token at this position runs.
    pub fn budget(&self, position: usize) -> usize {
        let span = self.to.saturating_sub(self.from) as u128;
        let done = position.saturating_sub(self.from) as u128;
        if done >= span {
            return if done == 0 { self.max } else { self.min };
        }
        // floor(max - a / span + 1/2) = max - ceil(a / span - 1/2) = max - ceil((2a - span) / (2 span)), in whole
        // numbers.
        let a = self.max.saturating_sub(self.min) as u128 * done;
        let drop = (2 * a).saturating_sub(span).div_ceil(2 * span);
        self.max - usize::try_from(drop).unwrap_or(self.max).min(self.max)
    }

    /// Returns true if a token at this position runs this layer, of `n_layers`.
    pub fn runs(&self, layer: usize, position: usize, n_layers: usize) -> bool {
        let top = self.budget(position).saturating_sub(self.warm_up);
        layer < self.warm_up || layer >= n_layers.saturating_sub(top)
    }
}

impl Controller for Schedule {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let (layer, n) = (site.layer(), site.n_layers());
        let action = |row: &Row| if self.runs(layer, row.position, n) { Action::Run } else { Action::Skip };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    /// # Errors
    /// Unless `from < to`, `warm_up <= min <= max`, and `max` is at most the model's number of layers.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        let Event::Start(setup) = event else { return Ok(()) };
        setup.check_budget(self.max, 0)?;
        let Self { max, min, from, to, warm_up } = *self;
        ControllerError::check(min <= max, "the schedule's least budget", min, format!("at most {max}"))?;
        ControllerError::check(from < to, "the position where the schedule ends", to, format!("more than {from}"))?;
        ControllerError::check(warm_up <= min, "the schedule's warm-up layers", warm_up, format!("at most {min}"))
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedules() -> impl Strategy<Value = (Schedule, usize)> {
        (1usize..40).prop_flat_map(|n| (Just(n), 0..=n)).prop_flat_map(|(n, max)| {
            (Just(n), Just(max), 0..=max, 0usize..50, 1usize..200).prop_flat_map(|(n, max, min, from, span)| {
                (0..=min).prop_map(move |warm_up| (Schedule { max, min, from, to: from + span, warm_up }, n))
            })
        })
    }

    proptest! {
        #[test]
        fn the_budget_follows_the_equation((schedule, n) in schedules(), position in 0usize..300) {
            let Schedule { max, min, from, to, .. } = schedule;
            // Clamping the position covers the three cases.
            let p = position.clamp(from, to);
            let exact = max as f64 - ((max - min) * (p - from)) as f64 / (to - from) as f64;
            prop_assert_eq!(schedule.budget(position), (exact + 0.5 + 1e-9).floor() as usize);
            let ran = (0..n).filter(|layer| schedule.runs(*layer, position, n)).count();
            prop_assert_eq!(ran, schedule.budget(position));
        }

        #[test]
        fn what_runs_later_ran_before((schedule, n) in schedules(), position in 0usize..300) {
            for layer in 0..n {
                prop_assert!(!schedule.runs(layer, position + 1, n) || schedule.runs(layer, position, n));
            }
        }
    }
}
