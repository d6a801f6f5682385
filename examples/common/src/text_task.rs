//! A study's data from a file of prompts with references, for any model.

use crate::PromptForm;
use crate::data::{Data, Line, unscored_by_rouge};
use crate::output::warn;
use crate::study::{StudyTask, purposes};
use crate::tiny_task::RouterKind;
use dynlayer::inference::controllers::AnyRouter;
use dynlayer::inference::training::{StepPart, TrainingBatch, TrainingError, TrainingItem};
use dynlayer::inference::{Completion, GenerateOptions, ScoreItem};
use dynlayer::metrics::random;
use dynlayer::metrics::text::Rouge;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Digest, Llama};
use std::error::Error;
use std::path::Path;

/// The settings of a study on texts.
#[derive(Clone, Debug)]
pub struct TextSettings {
    /// The kind of the routers, and the logit of every layer in an untrained one.
    pub router: (RouterKind, f32),
    /// The number of items per training step.
    pub batch: usize,
    /// The number of items that routers are measured on.
    pub items: u64,
    /// The largest number of tokens of a prompt and of a reference.
    pub tokens: usize,
    /// If true, items that do not fit the model's context are left out; otherwise they are an error.
    pub skip_long: bool,
    /// Strings that end an output and are left out of it.
    pub stop_strings: Vec<String>,
}

/// The prompts and references of a file. Routers are measured on the first of them, and learn from the others.
pub struct Texts<'a> {
    model: &'a Llama,
    tokenizer: &'a Tokenizer,
    stop_tokens: Vec<u32>,
    stop_strings: Vec<String>,
    router: (RouterKind, f32),
    batch: usize,
    tokens: usize,
    items: Vec<ScoreItem>,
    references: Vec<String>,
    learned: Vec<ScoreItem>,
}

impl<'a> Texts<'a> {
    /// Reads the texts. `bos` begins every text, and the first of the stop tokens ends every reference.
    pub fn open(
        path: &Path,
        model: &'a Llama,
        tokenizer: &'a Tokenizer,
        (bos, stop_tokens): (Option<u32>, Vec<u32>),
        form: &PromptForm<'_>,
        settings: &TextSettings,
    ) -> Result<Self, Box<dyn Error>> {
        let mut data = Data::read(path, None)?;
        let item = |line: &Line| -> Result<ScoreItem, Box<dyn Error>> {
            let mut prompt = form.prompt(&line.prompt)?;
            // Long prompts are cut at the beginning, since the end asks for the answer. What begins every text stays.
            let from = usize::from(bos.is_some_and(|bos| prompt.starts_with(&[bos])));
            prompt.drain(from..from + prompt.len().saturating_sub(settings.tokens));
            let mut continuation = tokenizer.encode(&line.reference, false)?;
            continuation.extend(stop_tokens.first());
            continuation.truncate(settings.tokens);
            for (what, tokens) in [("prompt", &prompt), ("reference", &continuation)] {
                if tokens.is_empty() {
                    return Err(format!("the {what} has no token").into());
                }
            }
            Ok(ScoreItem { prompt, continuation })
        };
        let items = data.lines.iter().map(|line| item(line).map_err(|error| data.wrong(line, error)));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let tokens = |item: &ScoreItem| item.prompt.len() + item.continuation.len();
        let mut items = data.fit(items, tokens, model.config().max_positions, settings.skip_long)?;
        let measured = usize::try_from(settings.items)?;
        if items.len() <= measured {
            let (name, n) = (data.name, items.len());
            return Err(format!("{name}: found {n} items; expected more than the {measured} to measure on").into());
        }
        let learned = items.split_off(measured);
        data.lines.truncate(measured);
        if let Some(warning) = unscored_by_rouge(&data.lines) {
            warn(warning);
        }
        let references = data.lines.into_iter().map(|line| line.reference).collect();
        let router = settings.router;
        let (batch, tokens, stop_strings) = (settings.batch, settings.tokens, settings.stop_strings.clone());
        Ok(Self { model, tokenizer, stop_tokens, stop_strings, router, batch, tokens, items, references, learned })
    }

    /// Returns the digest of all texts: what routers learn from, what they are measured on, and the references.
    pub fn digest(&self) -> Digest {
        let tokens = |items: &[ScoreItem]| {
            Digest::of_tokens(items.iter().flat_map(|item| [item.prompt.as_slice(), item.continuation.as_slice()]))
        };
        Digest::of([tokens(&self.learned), tokens(&self.items), Digest::of(&self.references)])
    }
}

impl StudyTask for Texts<'_> {
    type Router = AnyRouter;

    fn router(&self, seed: u64) -> AnyRouter {
        self.router.0.router(self.model, self.router.1, seed)
    }

    fn batch(&self, seed: u64, StepPart { step, part }: StepPart) -> Result<TrainingBatch, TrainingError> {
        let first = (step + (part << 32)) * self.batch as u64;
        let n = self.learned.len() as u64;
        // Takes all texts in turn. The seed chooses the text to begin with.
        let start = random::derive(purposes::FIRST_TEXT, seed, [0, 0, 0]) % n;
        let items = (0..self.batch as u64).map(|i| {
            let at = ((first + i) % n + start) % n;
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
            stop_strings: self.stop_strings.clone(),
            tokenizer: Some(self.tokenizer),
            ..GenerateOptions::default()
        }
    }

    /// Returns the F1 of ROUGE-L against the reference, with stemming.
    fn quality(&self, item: usize, output: &Completion) -> f64 {
        Rouge::stemmed().score(&self.references[item], &output.text).rouge_l.f1
    }
}
