//! A study's data from a file of prompts with references, for any model.

use crate::arguments::Arguments;
use dynlayer::inference::controllers::AnyRouter;
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError, TrainingItem};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};
use dynlayer::metrics::text::Rouge;
use dynlayer::model::Llama;
use dynlayer::model::text::{ChatMessage, Tokenizer};
use dynlayer_examples::study::StudyTask;
use dynlayer_examples::tiny_task::RouterKind;
use serde::Deserialize;
use std::error::Error;
use std::path::Path;

#[derive(Deserialize)]
struct Line {
    prompt: String,
    reference: String,
}

/// The prompts and references of a file. Routers are measured on the first of them, and learn from the others.
pub struct Texts<'a> {
    model: &'a Llama,
    tokenizer: &'a Tokenizer,
    stop_tokens: Vec<u32>,
    router: (RouterKind, f32),
    batch: usize,
    tokens: usize,
    items: Vec<ScoreItem>,
    references: Vec<String>,
    learned: Vec<ScoreItem>,
}

impl<'a> Texts<'a> {
    pub fn open(
        path: &Path,
        model: &'a Llama,
        tokenizer: &'a Tokenizer,
        stop_tokens: Vec<u32>,
        arguments: &Arguments,
    ) -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let template = tokenizer.chat_template()?;
        let (mut items, mut references) = (Vec::new(), Vec::new());
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let Line { prompt, reference } =
                serde_json::from_str(line).map_err(|error| format!("{}, line {}: {error}", path.display(), i + 1))?;
            let prompt = match &template {
                Some(template) => template.render(&[ChatMessage::user(prompt)], true)?,
                None => prompt,
            };
            // Long prompts are cut at the beginning, since the end asks for the answer.
            let mut prompt = tokenizer.encode(&prompt, false)?;
            prompt.drain(..prompt.len().saturating_sub(arguments.tokens));
            let mut continuation = tokenizer.encode(&reference, false)?;
            continuation.extend(stop_tokens.first());
            continuation.truncate(arguments.tokens);
            items.push(ScoreItem { prompt, continuation });
            references.push(reference);
        }
        let measured = usize::try_from(arguments.items)?;
        if items.len() <= measured {
            let (path, n) = (path.display(), items.len());
            return Err(format!("{path}: found {n} items; expected more than the {measured} to measure on").into());
        }
        let learned = items.split_off(measured);
        references.truncate(measured);
        let router = (arguments.router, arguments.bias);
        let (batch, tokens) = (arguments.batch, arguments.tokens);
        Ok(Self { model, tokenizer, stop_tokens, router, batch, tokens, items, references, learned })
    }
}

impl StudyTask for Texts<'_> {
    type Router = AnyRouter;

    fn router(&self, seed: u64) -> AnyRouter {
        self.router.0.router(self.model, self.router.1, seed)
    }

    fn batch(&self, seed: u64, StepPart { step, part }: StepPart) -> Result<TrainingBatch, TrainingError> {
        let first = (step + (part << 32)) * self.batch as u64;
        let items = (0..self.batch as u64).map(|i| {
            // Takes all texts in turn. Each seed begins with a different text.
            let at = (first + i + 7919 * seed) % self.learned.len() as u64;
            let ScoreItem { prompt, continuation } =
                usize::try_from(at).ok().and_then(|at| self.learned.get(at)).cloned().unwrap_or_default();
            TrainingItem { id: first + i, prompt, answer: continuation }
        });
        TrainingBatch::new(self.model, items.collect())
    }

    fn items(&self) -> &[ScoreItem] {
        &self.items
    }

    fn options(&self) -> GenerateOptions<'_> {
        GenerateOptions {
            max_new_tokens: self.tokens,
            stop_tokens: self.stop_tokens.clone(),
            tokenizer: Some(self.tokenizer),
            ..GenerateOptions::default()
        }
    }

    /// Returns the F1 of ROUGE-L against the reference, with stemming.
    fn quality(&self, item: usize, output: &Completion) -> f64 {
        Rouge::stemmed().score(&self.references[item], &output.text).rouge_l.f1
    }
}
