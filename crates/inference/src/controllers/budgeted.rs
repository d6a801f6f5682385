//! A budget for another controller.

use super::ControllerSpec;
use super::spec::{Build, BuildError, Fields, Resources, SpecForm};
use crate::control::{Action, Batch, Controller, ControllerError, Decision, Site};
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Keeps another controller within a budget: at any time, the layers that a sequence has run in its controlled passes
/// are at most `budget` times the number of these passes, the current one included.
///
/// Later passes may use what earlier ones saved. An action that does not fit the budget becomes [`Action::Skip`]. A
/// sublayer costs half a layer, and rows that have exited cost nothing. A [`Decision::Gate`] costs every row a whole
/// layer; if one row cannot pay, it becomes an action per row. A pass of several tokens (a controlled prompt) counts
/// once.
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
    accounts: HashMap<u64, Account>,
}

/// The spending of one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Account {
    passes: u64,
    /// The number of sublayers run.
    sublayers: u64,
    exited: bool,
}

impl<C> Budgeted<C> {
    /// Returns a controller that holds `inner` to a mean of at most `budget` layers per pass.
    pub fn new(budget: f32, inner: C) -> Self {
        Self { budget, inner, accounts: HashMap::new() }
    }

    /// The inner controller.
    pub fn inner(&self) -> &C {
        &self.inner
    }

    /// Returns the action that a row can afford, and charges its account.
    fn pay(&mut self, sequence: u64, action: Action) -> Action {
        let budget = f64::from(self.budget);
        let account = self.accounts.entry(sequence).or_default();
        account.exited |= action == Action::Exit;
        if account.exited {
            return Action::Exit;
        }
        let cost = u64::from(action.runs_attention()) + u64::from(action.runs_mlp());
        if fits(budget, account, cost) {
            account.sublayers += cost;
            action
        } else {
            Action::Skip
        }
    }

    /// Returns the gate if every row that has not exited can pay for a whole layer, otherwise an action per row;
    /// charges the accounts.
    fn pay_gate(&mut self, site: &Site<'_>, gate: burn::tensor::Tensor<2>) -> Decision {
        let budget = f64::from(self.budget);
        let broke = |row: &crate::Row| {
            let account = self.accounts.get(&row.id).copied().unwrap_or_default();
            !account.exited && !fits(budget, &account, 2)
        };
        let any_broke = site.rows().iter().any(broke);
        let actions: Vec<Action> = site.rows().iter().map(|row| self.pay(row.id, Action::Run)).collect();
        if any_broke { Decision::PerRow(actions) } else { Decision::Gate(gate) }
    }
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
}

/// Returns true if `sublayers` more are within the budget.
fn fits(budget: f64, account: &Account, sublayers: u64) -> bool {
    let (wanted, passes) = ((account.sublayers + sublayers) as f64, account.passes as f64);
    sublayers == 0 || wanted <= 2.0 * budget * passes
}

impl<C: Controller> Controller for Budgeted<C> {
    fn decide(&mut self, site: &Site<'_>) -> Decision {
        if site.layer() == 0 {
            for row in site.rows() {
                let account = self.accounts.entry(row.id).or_default();
                account.passes += 1;
                account.exited = false;
            }
        }
        match self.inner.decide(site) {
            Decision::All(action) => Decision::per_row(site.rows().iter().map(|row| self.pay(row.id, action))),
            Decision::PerRow(actions) if actions.len() == site.rows().len() => {
                Decision::per_row(site.rows().iter().zip(actions).map(|(row, action)| self.pay(row.id, action)))
            }
            Decision::Gate(gate) => self.pay_gate(site, gate),
            // The engine refuses a wrong number of actions.
            broken @ Decision::PerRow(_) => broken,
        }
    }

    /// # Errors
    /// If the budget is negative or not finite, or the inner controller refuses the batch.
    fn begin(&mut self, batch: &Batch<'_>) -> Result<(), ControllerError> {
        let budget = self.budget;
        let ok = budget.is_finite() && budget >= 0.0;
        ControllerError::check(ok, "the budget", budget, "a finite number of layers, at least 0")?;
        self.accounts.clear();
        self.inner.begin(batch)
    }

    fn observe(&mut self, site: &Site<'_>) {
        self.inner.observe(site);
    }
}
