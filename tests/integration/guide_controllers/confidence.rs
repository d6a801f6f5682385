//! Depth by the previous token's confidence.

use dynlayer::inference::controllers::{Passes, Sequences};
use dynlayer::inference::{Action, Controller, ControllerError, Decision, Event, Row, Site};

/// Runs the first `layers` layers over a token that was predicted with a gap of at least `gap`, and all over others.
pub struct AfterConfident {
    pub gap: f64,
    pub layers: usize,
    gaps: Sequences<Passes<f64>>,
}

impl AfterConfident {
    pub fn new(gap: f64, layers: usize) -> Self {
        Self { gap, layers, gaps: Sequences::default() }
    }
}

impl Controller for AfterConfident {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let deep = site.layer() >= self.layers;
        // With `generated` 0 the row reads a token of a prompt, which was not predicted.
        let sure = |row: &Row| {
            row.generated > 0 && self.gaps.get(row.id).and_then(|gaps| gaps.last()).is_some_and(|gap| *gap >= self.gap)
        };
        let action = |row| if deep && sure(row) { Action::Exit } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        self.gaps.on(event);
        match event {
            Event::Start(setup) => setup.check_layer(self.layers)?,
            Event::Outcome(outcome) => {
                for produced in outcome.rows() {
                    self.gaps.entry(produced.id()).push(produced.row().position, produced.gap()?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::{SequenceOptions, Session, SessionOptions, conformance};
    use dynlayer::model::Backend;
    use std::collections::HashMap;
    use std::error::Error;

    const GAP: f64 = 0.02;

    #[test]
    fn keeps_the_rules() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        conformance::check(&model, conformance::Rule::ALL, || AfterConfident::new(GAP, 3))?;
        Ok(())
    }

    #[test]
    fn a_token_after_a_sure_one_runs_three_layers() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let mut session = Session::new(&model, AfterConfident::new(GAP, 3), SessionOptions::default())?;
        let options = SequenceOptions { max_new_tokens: 20, log_probabilities: Some(2), ..SequenceOptions::default() };
        session.push(7, &[1, 2, 3], options.clone())?;
        session.push(8, &[4, 5], options)?;
        let mut gaps: HashMap<u64, Vec<f64>> = HashMap::new();
        while !session.is_idle() {
            for event in session.step()? {
                let probability = |rank: usize| event.likeliest[rank].1.exp();
                gaps.entry(event.sequence).or_default().push(probability(0) - probability(1));
            }
        }
        let report = session.report();
        // One product per prediction; `full` leaves out those for the controller.
        for (phase, predictions) in [(&report.prefill, 2), (&report.decode, 2 * 19)] {
            assert_eq!(phase.spent.executed.head_products, predictions);
            assert_eq!(phase.spent.full.head_products, predictions);
            assert_eq!(phase.host_reads, 0);
        }
        for id in [7, 8] {
            let completion = session.completion(id).ok_or("no sequence")?;
            let routes: Vec<String> = completion.routes.iter().map(ToString::to_string).collect();
            assert_eq!(routes[0], "######");
            for (gap, route) in gaps[&id].iter().zip(&routes[1..]) {
                assert_eq!(route, if *gap >= GAP { "###..." } else { "######" });
            }
            assert!(routes.iter().any(|route| route == "###..."), "{gaps:?}");
            assert!(routes[1..].iter().any(|route| route == "######"), "{gaps:?}");
        }
        Ok(())
    }
}
