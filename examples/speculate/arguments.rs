//! The command line.

use clap::Parser;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{Accept, DraftLength, KvPolicy, Speculation};
use dynlayer::model::{Backend, WeightDtype};
use dynlayer_examples::arguments::{ModelArguments, draft_length};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Compares speculation with plain decoding: the same tokens, and the time that they take.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A controller that drafts, in the text form that `--help` of the `generate` example lists; may be given more than
    /// once. By default exit:3 for the embedded model, and uniform:26 for others.
    #[arg(long = "controller", value_name = "SPEC")]
    controllers: Vec<ControllerSpec>,
    /// The number of tokens that are drafted in a round: auto for as many as pay, or a number.
    #[arg(long, value_name = "auto|N", value_parser = draft_length, default_value = "auto")]
    speculate: DraftLength,
    /// The rule by which drafted tokens are accepted: same or rejection. With rejection the tokens differ from those of plain
    /// decoding, unless the temperature is 0.
    #[arg(long, default_value_t = Accept::Same)]
    accept: Accept,
    /// A file of prompts, as for the `oracle` example; by default the embedded model's tasks, or a few questions, which are
    /// messages if the model has a chat template.
    #[arg(long, value_name = "FILE.jsonl|-")]
    pub data: Option<PathBuf>,
    /// Make each prompt of --data a message in the model's chat template.
    #[arg(long, requires = "data")]
    pub chat: bool,
    /// A string that ends a sequence and is left out of its text; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// The largest number of prompts to read from --data.
    #[arg(long, requires = "data")]
    pub limit: Option<usize>,
    /// The number of problems of each of the embedded model's tasks.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub problems: u64,
    /// The number of times that each prompt is run in each way.
    #[arg(long, default_value = "1")]
    pub repeat: NonZeroUsize,
    /// The number of prompts that are generated together.
    #[arg(long, default_value = "1")]
    pub batch: NonZeroUsize,
    /// The largest number of tokens to generate for a prompt.
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// The sampling temperature; at 0 the likeliest token is always chosen.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The keys and values that drafts see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    pub kv_policy: KvPolicy,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default stored for a
    /// quantised GGUF file on flex, and f32 otherwise.
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<WeightDtype>,
    /// Print one JSON array instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    pub fn controllers(&self) -> Vec<ControllerSpec> {
        if !self.controllers.is_empty() {
            return self.controllers.clone();
        }
        let usual = if self.model.model.is_none() { "exit:3" } else { "uniform:26" };
        usual.parse().into_iter().collect()
    }

    pub fn speculation(&self) -> Speculation {
        Speculation { length: self.speculate, accept: self.accept, ..Speculation::default() }
    }

    /// Returns `true` if speculation must give the tokens of plain decoding. Other devices may choose another one of two that
    /// are almost equally likely.
    pub fn exact(&self) -> bool {
        let same = self.accept == Accept::Same || self.temperature <= 0.0;
        same && self.model.device == Backend::Flex.into()
    }

    pub fn sampling(&self) -> Sampling {
        Sampling { temperature: self.temperature, ..Sampling::default() }
    }
}
