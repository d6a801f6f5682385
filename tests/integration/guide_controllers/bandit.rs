//! A bandit that learns from outcomes while generating.

use dynlayer::inference::{Action, Controller, ControllerError, Decision, Event, Row, Site};
use std::collections::HashMap;

/// A number of layers, and what it was worth so far.
#[derive(Clone, Debug)]
struct Arm {
    layers: usize,
    pulls: f64,
    mean: f64,
}

/// Chooses among depths by the log-probability of the token less `price` per layer. One set of arms for all sequences,
/// forgotten at the start of a run.
#[derive(Debug)]
pub struct Bandit {
    explore: f64,
    price: f64,
    arms: Vec<Arm>,
    /// The arm of each row in the pass that runs.
    chosen: HashMap<u64, usize>,
}

impl Bandit {
    pub fn new(layers: &[usize], explore: f64, price: f64) -> Self {
        let arms = layers.iter().map(|&layers| Arm { layers, pulls: 0.0, mean: 0.0 }).collect();
        Self { explore, price, arms, chosen: HashMap::new() }
    }

    fn choose(&self, row: &Row) -> usize {
        if row.draw(b"explores", 0) < self.explore {
            return (row.draw(b"which---", 0) * self.arms.len() as f64) as usize;
        }
        let worth = |arm: usize| if self.arms[arm].pulls == 0.0 { f64::INFINITY } else { self.arms[arm].mean };
        (0..self.arms.len()).max_by(|&a, &b| worth(a).total_cmp(&worth(b))).unwrap()
    }
}

impl Controller for Bandit {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let over = |row: &Row| self.chosen.get(&row.id).is_some_and(|&arm| site.layer() >= self.arms[arm].layers);
        let action = |row| if over(row) { Action::Exit } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(setup) => {
                ControllerError::check(!self.arms.is_empty(), "arms", 0, "at least one")?;
                for arm in &mut self.arms {
                    setup.check_budget(arm.layers, 1)?;
                    (arm.pulls, arm.mean) = (0.0, 0.0);
                }
                self.chosen.clear();
            }
            Event::Pass(pass) if pass.controlled() => {
                for row in pass.rows() {
                    self.chosen.insert(row.id, self.choose(row));
                }
            }
            Event::Outcome(outcome) if outcome.controlled() => {
                for produced in outcome.rows() {
                    let Some(arm) = self.chosen.remove(&produced.id()) else { continue };
                    let reward = produced.log_probability()? - self.price * produced.route().depth();
                    let arm = &mut self.arms[arm];
                    arm.pulls += 1.0;
                    arm.mean += (reward - arm.mean) / arm.pulls;
                }
            }
            Event::End { id } => drop(self.chosen.remove(id)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::conformance::{self, Rule};
    use dynlayer::inference::{GenerateOptions, generate};
    use dynlayer::model::Backend;
    use std::error::Error;

    #[test]
    fn keeps_the_rules_of_a_learner() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let rules = [Rule::Answers, Rule::Deterministic, Rule::BoxedEqualsUnboxed, Rule::StartResets];
        conformance::check(&model, &rules, || Bandit::new(&[2, 4, 6], 0.2, 0.1))?;
        Ok(())
    }

    /// The shares of late tokens that run two, four and six layers.
    fn late(price: f64) -> Result<[f64; 3], Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let options = GenerateOptions { max_new_tokens: 60, ..GenerateOptions::default() };
        let prompts = [vec![1, 2, 3], vec![4, 5]];
        let (completions, _) = generate(&model, Bandit::new(&[2, 4, 6], 0.2, price), &prompts, options)?.finish()?;
        let mut routes: Vec<String> = Vec::new();
        for completion in &completions {
            assert_eq!(completion.routes[0].to_string(), "######");
            routes.extend(completion.routes[30..].iter().map(ToString::to_string));
        }
        let share = |form: &str| routes.iter().filter(|route| *route == form).count() as f64 / routes.len() as f64;
        Ok([share("##...."), share("####.."), share("######")])
    }

    #[test]
    fn finds_the_best_arm() -> Result<(), Box<dyn Error>> {
        let dear = late(10.0)?;
        assert!(dear[0] > 0.7 && dear[1] + dear[2] > 0.0, "{dear:?}");
        let rewarded = late(-10.0)?;
        assert!(rewarded[2] > 0.7 && rewarded[0] + rewarded[1] > 0.0, "{rewarded:?}");
        Ok(())
    }
}
