//! The command line.

use clap::Parser;
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{ControlFrom, KvPolicy};
use dynlayer::model::{Backend, WeightDtype};
use std::path::PathBuf;

/// Generates text with a Llama-style model while a controller decides which layers run.
#[derive(Parser, Debug)]
#[command(name = "generate")]
struct Raw {
    /// A Hugging Face folder, or a GGUF file; by default the embedded model.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    model: Option<PathBuf>,
    #[command(flatten)]
    source: RawSource,
    /// What decides which layers run.
    ///
    /// full: all.
    /// skip:3,5,7: all but these, counted from 0.
    /// uniform:20: 20, evenly spread.
    /// exit:20: the first 20.
    /// influence:28: the 28 that change the states most, measured on --calibration.
    /// random:20: 20, drawn once per sequence; ,ends=free to draw the first and the last too.
    /// bernoulli:0.8: each with this probability, drawn per token; ,ends=free.
    /// schedule:28..14,to=256: from 28 at position 0 down to 14 at position 256; ,from=N ,warmup=N.
    /// confidence:0.9: exit where the two best tokens are this far apart.
    /// entropy:0.5: exit where the prediction's entropy is at most this, in nats.
    /// saturation:0.99: exit where a layer left a state this similar (all exits: ,patience=N ,min=N ,every=N).
    /// similarity:0.02: skip where the expected change is smaller, measured on --calibration; ,clusters=N ,ends=free.
    /// router:FILE: a learned router.
    /// replay:FILE: what --record wrote.
    /// budgeted:18:CONTROLLER: another controller, at most 18 layers per token on average.
    /// warmup:4:CONTROLLER: another controller after 4 tokens at full depth.
    #[arg(long, value_name = "SPEC", default_value = "full", verbatim_doc_comment)]
    controller: ControllerSpec,
    /// A text file to calibrate controllers on that need it; by default a short built-in text. The first 4096 tokens
    /// count.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Write what the controller decided to this file, for replay:FILE.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// first-generated, last-prompt-token or all.
    #[arg(long, default_value = "first-generated")]
    control_from: ControlFrom,
    /// flex, ndarray, cuda or wgpu; all but flex need the feature of that name.
    #[arg(long, default_value = "flex")]
    device: Backend,
    /// What weights are stored in: f32 or f16.
    #[arg(long, default_value = "f32")]
    dtype: WeightDtype,
    /// Tokens to generate at most.
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Go on after the end of the text.
    #[arg(long)]
    ignore_eos: bool,
    /// End before this text; may be given more than once.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Keep the K most probable tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Keep the most probable tokens up to probability P.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Keep tokens at least P times as probable as the first.
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1, tokens seen before become less likely.
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// What random choices derive from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    kv_policy: KvPolicy,
    /// Write the text as HTML, coloured by the layers that each token took.
    #[arg(long, value_name = "FILE.html")]
    depth_map: Option<PathBuf>,
    /// After the report, show the text coloured by depth, and how often each layer ran.
    #[arg(long)]
    usage: bool,
    /// Print one JSON object instead of text and report.
    #[arg(long)]
    json: bool,
    /// Generate nothing; print the N largest logits after the prompt, and what the forward pass looked like, as JSON.
    #[arg(long, value_name = "N")]
    logits_top: Option<usize>,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct RawSource {
    /// Continue this text.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// Continue these token ids.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    prompt_ids: Option<Vec<u32>>,
    /// Answer this message, through the model's chat template.
    #[arg(long, value_name = "TEXT")]
    chat: Option<String>,
}

/// The command line, read.
#[derive(Debug)]
pub struct Arguments {
    pub model: Option<PathBuf>,
    pub source: Source,
    pub controller: ControllerSpec,
    pub calibration: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub control_from: ControlFrom,
    pub kv_policy: KvPolicy,
    pub depth_map: Option<PathBuf>,
    pub usage: bool,
    pub device: Backend,
    pub dtype: WeightDtype,
    pub max_new_tokens: usize,
    pub ignore_eos: bool,
    pub stop: Vec<String>,
    pub sampling: Sampling,
    pub seed: u64,
    pub json: bool,
    pub logits_top: Option<usize>,
}

/// What to continue.
#[derive(Debug)]
pub enum Source {
    Text(String),
    Ids(Vec<u32>),
    Chat(String),
}

impl Arguments {
    /// Reads the command line; ends the program with a message if it is wrong.
    pub fn parse() -> Self {
        let raw = Raw::parse();
        let source = match (raw.source.prompt, raw.source.prompt_ids, raw.source.chat) {
            (Some(text), _, _) => Source::Text(text),
            (_, Some(ids), _) => Source::Ids(ids),
            (_, _, chat) => Source::Chat(chat.unwrap_or_default()),
        };
        let sampling = Sampling {
            temperature: raw.temperature,
            top_k: raw.top_k,
            top_p: raw.top_p,
            min_p: raw.min_p,
            repetition_penalty: raw.repetition_penalty,
        };
        Self {
            model: raw.model,
            source,
            controller: raw.controller,
            calibration: raw.calibration,
            record: raw.record,
            control_from: raw.control_from,
            kv_policy: raw.kv_policy,
            depth_map: raw.depth_map,
            usage: raw.usage,
            device: raw.device,
            dtype: raw.dtype,
            max_new_tokens: raw.max_new_tokens,
            ignore_eos: raw.ignore_eos,
            stop: raw.stop,
            sampling,
            seed: raw.seed,
            json: raw.json,
            logits_top: raw.logits_top,
        }
    }
}
