//! A budget for another controller.

use super::ControllerSpec;
use super::sequences::{Passes, Sequences};
use super::spec::{Build, BuildError, Fields, Needs, Resources, SpecForm};
use crate::control::{Action, Controller, ControllerError, Decision, Event, Place, Row, Site};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};

/// Keeps another controller within a budget: at any time, the layers that a sequence has run in its controlled passes
/// are at most `budget` times the number of these passes, the current one included.
///
/// Later passes may use what earlier ones saved. An action that does not fit the budget becomes [`Action::Skip`], or
/// [`Action::SkipMlp`] after [`Action::AskBeforeMlp`], which costs the attention. A sublayer costs half a layer, and
/// rows that have exited cost nothing. A [`Decision::Gate`] costs every row a whole layer; if one row cannot pay, it
/// becomes an action per row. A pass of several tokens (a controlled prompt) counts once. If a sequence is shortened,
/// the passes whose last token is dropped are taken back.
///
/// ```
/// use dynlayer_inference::controllers::{Budgeted, ConfidenceExit, ExitRule};
///
/// let controller = Budgeted::new(18.0, ConfidenceExit::new(ExitRule::new(0.9)));
/// # let _: Box<dyn dynlayer_inference::Controller + Send> = Box::new(controller);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgeted<C> {
    budget: f32,
    inner: C,
    #[serde(skip)]
    accounts: Sequences<Account>,
}

/// The spending of one sequence: the number of sublayers run up to the end of each controlled pass.
type Account = Passes<u64>;

impl<C> Budgeted<C> {
    /// Returns a controller that holds `inner` to a mean of at most `budget` layers per pass.
    pub fn new(budget: f32, inner: C) -> Self {
        Self { budget, inner, accounts: Sequences::default() }
    }

    /// The inner controller.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// Returns the action that a sequence can afford at this place, and charges its account.
    fn pay(&mut self, sequence: u64, place: Place, action: Action) -> Action {
        let (cost, instead) = match place {
            Place::Layer => (u64::from(action.runs_attention()) + u64::from(action.runs_mlp()), Action::Skip),
            // The attention has been paid for.
            Place::Mlp => (u64::from(action == Action::Run), Action::SkipMlp),
        };
        let account = self.accounts.entry(sequence);
        if !fits(self.budget, account, cost) {
            return instead;
        }
        if let Some(sublayers) = account.last_mut() {
            *sublayers += cost;
        }
        action
    }

    /// Returns what every row can afford, and charges the accounts.
    fn pay_all(&mut self, site: &Site<'_>, actions: Decision) -> Result<Decision, ControllerError> {
        actions.map_rows(site, |row, action| self.pay(row.id, site.place(), action))
    }
}

/// Returns true if `sublayers` more in the current pass are within the budget.
fn fits(budget: f32, account: &Account, sublayers: u64) -> bool {
    let wanted = (account.last().copied().unwrap_or(0) + sublayers) as f64;
    sublayers == 0 || wanted <= 2.0 * f64::from(budget) * account.len() as f64
}

impl Budgeted<Box<ControllerSpec>> {
    pub(crate) const FORM: SpecForm = SpecForm {
        syntax: "budgeted:LAYERS:CONTROLLER",
        about: "the layers of CONTROLLER, but on average at most LAYERS per pass",
        fields: Fields::Around("budget"),
    };
}

impl Build for Budgeted<Box<ControllerSpec>> {
    fn build(&self, model: &Llama, resources: &Resources) -> Result<Box<dyn Controller + Send>, BuildError> {
        Ok(Box::new(Budgeted::new(self.budget, self.inner.build(model, resources)?)))
    }

    fn needs(&self) -> Needs {
        self.inner.needs()
    }
}

impl<C: Controller> Controller for Budgeted<C> {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        match self.inner.decide(site)? {
            Decision::Gate(gate) => {
                let fit = |row: &Row| !row.asked || fits(self.budget, self.accounts.entry(row.id), 2);
                let all_fit = site.rows().iter().all(fit);
                let paid = self.pay_all(site, Action::Run.into())?;
                Ok(if all_fit { Decision::Gate(gate) } else { paid })
            }
            actions => self.pay_all(site, actions),
        }
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.inner.observe(site)
    }

    /// # Errors
    /// If the budget is negative or not finite, or the inner controller refuses the model or a sequence.
    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.accounts.on(event);
        match event {
            Event::Start(_) => {
                let budget = self.budget;
                let ok = budget.is_finite() && budget >= 0.0;
                ControllerError::check(ok, "the budget", budget, "a finite number of layers, at least 0")?;
            }
            Event::Pass(pass) if pass.controlled() => {
                for row in pass.rows() {
                    let account = self.accounts.entry(row.id);
                    let sublayers = account.last().copied().unwrap_or(0);
                    account.push(row.position, sublayers);
                }
            }
            _ => {}
        }
        self.inner.on(event)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FullDepth;
    use super::*;
    use crate::control::{Pass, Phase};

    /// Begins the controlled pass of one sequence that reads the token at this position.
    fn pass(controller: &mut Budgeted<FullDepth>, position: usize) {
        let rows = [Row { position, ..Row::text(4, 1) }];
        controller.on(&Event::Pass(&Pass { phase: Phase::Decode, controlled: true, rows: &rows })).unwrap();
    }

    #[test]
    fn a_rewind_takes_passes_back() {
        let mut controller = Budgeted::new(1.0, FullDepth);
        let pay = |controller: &mut Budgeted<FullDepth>| controller.pay(4, Place::Layer, Action::Run);
        pass(&mut controller, 7);
        pass(&mut controller, 8);
        pass(&mut controller, 9);
        let paid: Vec<Action> = (0..4).map(|_| pay(&mut controller)).collect();
        assert_eq!(paid, [Action::Run, Action::Run, Action::Run, Action::Skip]);
        controller.on(&Event::Rewind { id: 4, tokens: 9 }).unwrap();
        assert_eq!([pay(&mut controller), pay(&mut controller)], [Action::Run; 2], "two passes that ran nothing");
        assert_eq!(pay(&mut controller), Action::Skip);
        controller.on(&Event::End { id: 4 }).unwrap();
        assert_eq!(controller, Budgeted::new(1.0, FullDepth));
    }

    #[test]
    fn a_question_before_the_mlp_costs_the_attention() {
        let mut controller = Budgeted::new(1.5, FullDepth);
        pass(&mut controller, 7);
        let mut pay = |place, action| controller.pay(4, place, action);
        assert_eq!(pay(Place::Layer, Action::AskBeforeMlp), Action::AskBeforeMlp);
        assert_eq!(pay(Place::Mlp, Action::Run), Action::Run);
        assert_eq!(pay(Place::Layer, Action::AskBeforeMlp), Action::AskBeforeMlp);
        assert_eq!(pay(Place::Mlp, Action::Exit), Action::Exit);
        assert_eq!(pay(Place::Mlp, Action::Run), Action::SkipMlp);
        assert_eq!(pay(Place::Layer, Action::AskBeforeMlp), Action::Skip);
    }
}
