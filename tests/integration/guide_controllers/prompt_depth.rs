//! Depth per sequence from the prompt's state at layer 4.

use dynlayer::inference::{Action, Controller, ControllerError, Decision, Event, Row, Site};
use std::collections::HashMap;

/// The layer before which the prompt is looked at.
const AT: usize = 4;

/// Measures the size of the state of the prompt's last token before layer 4. Sequences whose state is smaller than
/// `size` generate with `layers` layers; others, and those not measured, with all.
#[derive(Debug)]
pub struct ByPromptState {
    pub size: f32,
    pub layers: usize,
    /// By sequence: whether its state was small.
    small: HashMap<u64, bool>,
}

impl ByPromptState {
    pub fn new(size: f32, layers: usize) -> Self {
        Self { size, layers, small: HashMap::new() }
    }

    fn measure(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        if site.layer() != AT || !site.rows().iter().any(|row| row.ends_prompt) {
            return Ok(());
        }
        let sizes = site.read(site.last_hidden().square().mean_dim(1).sqrt().squeeze_dim::<1>(1))?;
        for (row, size) in site.rows().iter().zip(sizes) {
            if row.ends_prompt {
                self.small.insert(row.id, size < self.size);
            }
        }
        Ok(())
    }
}

impl Controller for ByPromptState {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        self.measure(site)?;
        // The prompt itself runs all layers, so that its state does not depend on `control_from`.
        let shallow = |row: &Row| !row.ends_prompt && self.small.get(&row.id).is_some_and(|small| *small);
        let over = site.layer() >= self.layers;
        let action = |row| if over && shallow(row) { Action::Exit } else { Action::Run };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    fn observe(&mut self, site: &Site<'_>) -> Result<(), ControllerError> {
        self.measure(site)
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(setup) => {
                self.small.clear();
                setup.check_layer(AT)?;
            }
            Event::Begin(sequence) => drop(self.small.remove(&sequence.id)),
            Event::End { id } => drop(self.small.remove(id)),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::Pooling;
    use dynlayer::inference::{ControlFrom, GenerateOptions, conformance, embed, generate};
    use dynlayer::model::Backend;
    use std::error::Error;

    const SIZE: f32 = 2.0;

    #[test]
    fn keeps_the_rules() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        conformance::check(&model, conformance::Rule::ALL, || ByPromptState::new(SIZE, 3))?;
        Ok(())
    }

    #[test]
    fn small_states_of_the_prompt_give_three_layers() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let prompts: Vec<Vec<u32>> = (0..8).map(|i| vec![i, 3 * i + 1, 2 * i]).collect();
        // The same states by another way.
        let states = embed(&model, &prompts, AT, Pooling::Last)?;
        let sizes: Vec<f32> = states.square().mean_dim(1).sqrt().into_data().try_into_vec_as().unwrap();
        assert!(sizes.iter().any(|size| *size < SIZE) && sizes.iter().any(|size| *size > SIZE), "{sizes:?}");
        for control_from in [ControlFrom::FirstGenerated, ControlFrom::LastPromptToken, ControlFrom::All] {
            let mut options = GenerateOptions { max_new_tokens: 5, ..GenerateOptions::default() };
            options.run.control_from = control_from;
            let (completions, _) = generate(&model, ByPromptState::new(SIZE, 3), &prompts, options)?.finish()?;
            for (completion, size) in completions.iter().zip(&sizes) {
                let routes: Vec<String> = completion.routes.iter().map(ToString::to_string).collect();
                assert_eq!(routes[0], "######");
                let expected = if *size < SIZE { "###..." } else { "######" };
                assert!(routes[1..].iter().all(|route| route == expected), "{size} {routes:?}");
            }
        }
        Ok(())
    }
}
