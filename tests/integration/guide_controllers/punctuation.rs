//! Fewer layers after punctuation.

use dynlayer::inference::{Action, Controller, ControllerError, Decision, Phase, Row, Site};
use dynlayer::model::text::Tokenizer;
use std::collections::HashSet;

/// Skips every other layer over a token that is punctuation.
#[derive(Clone, Debug)]
pub struct AfterPunctuation {
    pub tokens: HashSet<u32>,
}

impl AfterPunctuation {
    /// The tokens `.`, `,` and so on of a tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        Self {
            tokens: [".", ",", ";", ":", "!", "?"].into_iter().filter_map(|mark| tokenizer.token_to_id(mark)).collect(),
        }
    }
}

impl Controller for AfterPunctuation {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        // A pass over a prompt reads many tokens, and `row.token` is only the last one.
        if site.phase() != Phase::Decode || site.layer() % 2 == 0 {
            return Ok(Action::Run.into());
        }
        let action = |row: &Row| if self.tokens.contains(&row.token) { Action::Skip } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::{ControlFrom, RunSettings, SequenceOptions, Session, SessionOptions, conformance};
    use dynlayer::model::Backend;
    use std::error::Error;

    #[test]
    fn knows_the_marks_of_a_tokenizer() -> Result<(), Box<dyn Error>> {
        let tokenizer = dynlayer_tiny::checkpoint()?.tokenizer()?;
        let comma = tokenizer.token_to_id(",").ok_or("no comma")?;
        assert!(AfterPunctuation::of(&tokenizer).tokens.contains(&comma));
        Ok(())
    }

    #[test]
    fn keeps_the_rules() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        // Half of all tokens, so that the texts of the check have some.
        let make = || AfterPunctuation { tokens: (0..1000).filter(|id| id % 2 == 0).collect() };
        conformance::check(&model, conformance::Rule::ALL, make)?;
        Ok(())
    }

    #[test]
    fn the_token_after_a_point_runs_half_of_the_layers() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let controller = AfterPunctuation { tokens: HashSet::from([11, 12]) };
        let run = RunSettings { control_from: ControlFrom::All, ..RunSettings::default() };
        let mut session = Session::new(&model, controller, SessionOptions { run, ..SessionOptions::default() })?;
        let given = vec![20, 11, 21, 12, 12, 22];
        let options = SequenceOptions { max_new_tokens: given.len(), given, ..SequenceOptions::default() };
        session.push(0, &[1, 2, 11], options)?;
        while !session.is_idle() {
            session.step()?;
        }
        let completion = session.completion(0).ok_or("no sequence")?;
        let routes: Vec<String> = completion.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["######", "######", "#.#.#.", "######", "#.#.#.", "#.#.#."]);
        Ok(())
    }
}
