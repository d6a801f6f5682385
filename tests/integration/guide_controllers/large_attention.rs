//! The MLP skipped where attention's output was large.

use dynlayer::burn::tensor::Tensor;
use dynlayer::inference::{Action, Controller, ControllerError, Decision, Place, Site};

/// Skips the MLP if attention changed the state of the row's last token by more than `ratio` of the state's size.
#[derive(Debug, Default)]
pub struct LargeAttention {
    pub ratio: f32,
    /// The states that entered the layer.
    before: Option<Tensor<2>>,
}

impl LargeAttention {
    pub fn new(ratio: f32) -> Self {
        Self { ratio, before: None }
    }
}

impl Controller for LargeAttention {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        if site.place() == Place::Layer {
            self.before = Some(site.last_hidden());
            return Ok(Action::AskBeforeMlp.into());
        }
        let before = self.before.take().ok_or_else(|| ControllerError::other("no state before attention"))?;
        let attention = site.last_hidden() - before.clone();
        let squares = attention.square().sum_dim(1) / before.square().sum_dim(1).clamp_min(1e-12);
        let ratios = site.read(squares.sqrt().squeeze_dim::<1>(1))?;
        let action = |ratio| if ratio > self.ratio { Action::SkipMlp } else { Action::Run };
        Ok(Decision::per_row(ratios.into_iter().map(action)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynlayer::inference::{Event, GenerateOptions, conformance, generate};
    use dynlayer::model::Backend;
    use std::collections::HashMap;
    use std::error::Error;

    const RATIO: f32 = 0.3;

    #[test]
    fn keeps_the_rules() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        conformance::check(&model, conformance::Rule::ALL, || LargeAttention::new(RATIO))?;
        Ok(())
    }

    /// Measures at each layer of the first generated token's pass by comparing two places, whatever is decided.
    struct Measured {
        inner: LargeAttention,
        before: Option<Tensor<3>>,
        /// By sequence and position: `#` or `a` for each layer.
        expected: HashMap<(u64, usize), String>,
    }

    impl Controller for Measured {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            if site.place() == Place::Layer {
                self.before = Some(site.hidden().clone());
            } else if let Some(before) = self.before.take() {
                let norm = |states: Tensor<3>| states.into_data().try_into_vec_as::<f32>().unwrap();
                let (before, after) = (norm(before), norm(site.hidden().clone()));
                let width = site.config().d_model;
                for (index, row) in site.rows().iter().enumerate() {
                    let range = index * width..(index + 1) * width;
                    let (before, after) = (&before[range.clone()], &after[range]);
                    let change: f32 = before.iter().zip(after).map(|(b, a)| (a - b) * (a - b)).sum();
                    let whole: f32 = before.iter().map(|b| b * b).sum();
                    let form = self.expected.entry((row.id, row.position)).or_default();
                    form.push(if (change / whole).sqrt() > RATIO { 'a' } else { '#' });
                }
            }
            self.inner.decide(site)
        }

        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            self.inner.on(event)
        }
    }

    #[test]
    fn the_mlp_is_skipped_where_attention_was_large() -> Result<(), Box<dyn Error>> {
        let model = conformance::small_model(&Backend::Flex.device()?)?;
        let options = GenerateOptions { max_new_tokens: 8, ..GenerateOptions::default() };
        let prompts = [vec![1, 2, 3], vec![4, 5]];
        let mut measured = Measured { inner: LargeAttention::new(RATIO), before: None, expected: HashMap::new() };
        let (completions, _) = generate(&model, &mut measured, &prompts, options)?.finish()?;
        let mut all = String::new();
        for (id, (completion, prompt)) in completions.iter().zip(&prompts).enumerate() {
            for (token, route) in completion.routes.iter().enumerate().skip(1) {
                // Token `token` comes from the pass that reads the one before it.
                let position = prompt.len() + token - 1;
                assert_eq!(route.to_string(), measured.expected[&(id as u64, position)]);
                all += &route.to_string();
            }
        }
        assert!(all.contains('a') && all.contains('#') && !all.contains('.'), "{all}");
        Ok(())
    }
}
