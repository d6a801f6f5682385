//! The command line.

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser};
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::sampling::Sampling;
use dynlayer::inference::{Accept, ControlFrom, DraftLength, KvPolicy, Speculation};
use dynlayer::model::{KvDtype, WeightDtype};
use dynlayer_examples::arguments::{ModelArguments, draft_length, trimmed};
use std::path::PathBuf;

/// Generates text with a Llama-style model while a controller decides which layers run.
#[derive(Parser, Debug)]
#[command(name = "generate")]
struct Raw {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    source: RawSource,
    /// The controller, which decides which layers run; --help lists all of them.
    #[arg(long, value_name = "SPEC", default_value = "full", long_help = controllers())]
    controller: ControllerSpec,
    /// A certificate of the example `calibrate`: run the controller that it names, with the settings that it was issued for. The
    /// model, the form of the prompt, --max-new-tokens and --stop must be the same.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["controller", "control_from", "kv_policy", "kv_dtype", "seed", "temperature", "repetition_penalty", "ignore_eos", "speculate"])]
    certificate: Option<PathBuf>,
    /// A text file to calibrate `influence` and `similarity` on, of which the first 4096 tokens are used; by default a
    /// built-in text, or problems for the embedded model.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Write the controller's decisions to this file, for the controller replay:FILE with the same --control-from.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The first token that the controller decides about: first-generated, last-prompt-token or all (the prompt's
    /// first).
    #[arg(long, default_value = "first-generated")]
    control_from: ControlFrom,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default stored for a
    /// quantised GGUF file on flex, and f32 otherwise.
    #[arg(long, value_name = "TYPE")]
    dtype: Option<WeightDtype>,
    /// The largest number of tokens to generate.
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Continue after a token that ends the text.
    #[arg(long)]
    ignore_eos: bool,
    /// End before this text would appear in the output, or at this token if it is a special token's text, such as
    /// `<|im_end|>`; may be given more than once.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// The sampling temperature; at 0 the likeliest token is always chosen.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Sample from the K most probable tokens only.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from the fewest most probable tokens that reach probability P together.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Sample from tokens that are at least P times as probable as the most probable one.
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// The penalty of tokens that occurred before: above 1 makes them less likely.
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The keys and values that later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    kv_policy: KvPolicy,
    /// The type in which keys and values are kept: f32, or f16 for half the memory.
    #[arg(long, default_value_t = KvDtype::F32)]
    kv_dtype: KvDtype,
    /// Let the controller only draft tokens, which the full model checks, so that the text is the full model's: auto drafts
    /// as many as pay, N drafts N tokens per round.
    #[arg(long, value_name = "auto|N", value_parser = draft_length, conflicts_with_all = ["record", "logits_top"])]
    speculate: Option<DraftLength>,
    /// The rule by which drafted tokens are accepted: same gives the full model's text, rejection only its distribution.
    #[arg(long, default_value_t = Accept::Same, requires = "speculate")]
    accept: Accept,
    /// Write the text to this HTML file, each token coloured by the number of layers that it ran.
    #[arg(long, value_name = "FILE.html")]
    depth_map: Option<PathBuf>,
    /// Show the share of tokens that ran each layer, after the report; on a terminal with colours also the text,
    /// coloured by depth.
    #[arg(long)]
    usage: bool,
    /// Print one JSON object instead of the text and the report.
    #[arg(long)]
    json: bool,
    /// Generate nothing; print the N largest logits after the prompt, the prompt's loss and the norms of its states as
    /// JSON.
    #[arg(long, value_name = "N", conflicts_with_all = ["record", "depth_map", "usage"])]
    logits_top: Option<usize>,
}

/// Returns the long help of `--controller`: the text forms of all built-in controllers.
fn controllers() -> String {
    let forms: Vec<String> = ControllerSpec::all().iter().map(ToString::to_string).collect();
    format!(
        "The controller, which decides which layers run. The text form of each controller and the layers that it runs:\n\n\
         {}\n\n\
         Parts in brackets may be left out:\n\
         ends=free: the first and the last layer may be skipped too\n\
         patience=CHECKS: exit once CHECKS checks in a row have passed; by default 1\n\
         min=LAYERS: exit after LAYERS layers at the earliest; by default 1\n\
         every=LAYERS: check after every LAYERS further layers; by default 1\n\
         from=POSITION: the last position with MAX layers; by default 0\n\
         warmup=LAYERS: the lowest LAYERS layers always run; by default 1\n\
         clusters=N: distinguish N kinds of states per layer; by default 8",
        forms.join("\n")
    )
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct RawSource {
    /// Continue this text.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Continue the text of this file, with all its spaces and line ends; - is standard input.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Continue these token ids. A model without a usable tokenizer runs too; its answer has no text.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',', value_parser = trimmed::<u32>)]
    prompt_ids: Option<Vec<u32>>,
    /// Answer this message, through the model's chat template (--chat=TEXT if it begins with a hyphen); without a text,
    /// converse at the terminal.
    #[arg(long, value_name = "TEXT", num_args = 0..=1)]
    chat: Option<Vec<String>>,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Arguments {
    pub model: ModelArguments,
    pub source: Source,
    pub controller: ControllerSpec,
    pub certificate: Option<PathBuf>,
    pub calibration: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub control_from: ControlFrom,
    pub kv_policy: KvPolicy,
    pub kv_dtype: KvDtype,
    pub speculation: Option<Speculation>,
    pub depth_map: Option<PathBuf>,
    pub usage: bool,
    pub dtype: Option<WeightDtype>,
    pub max_new_tokens: usize,
    pub ignore_eos: bool,
    pub stop: Vec<String>,
    pub sampling: Sampling,
    pub seed: u64,
    pub json: bool,
    pub logits_top: Option<usize>,
    /// The options that were given and are of use only when something is generated.
    only_for_generation: Vec<String>,
}

/// The names of the options that are of use only when something is generated, as clap has them.
const GENERATION: [&str; 14] = [
    "controller",
    "calibration",
    "control_from",
    "kv_policy",
    "kv_dtype",
    "max_new_tokens",
    "ignore_eos",
    "stop",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "seed",
];

/// The input: a text, a file's text or token ids to continue, a message to answer, or messages at the terminal.
#[derive(Debug)]
pub enum Source {
    Text(String),
    File(PathBuf),
    Ids(Vec<u32>),
    Chat(String),
    Conversation,
}

impl Arguments {
    /// Parses the command line; ends the program with a message if it is invalid.
    pub fn parse() -> Self {
        let matches = Raw::command().get_matches();
        let raw = Raw::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let only_for_generation = GENERATION.iter().filter(|id| given(id));
        let only_for_generation = only_for_generation.map(|id| format!("--{}", id.replace('_', "-"))).collect();
        let RawSource { prompt, prompt_file, prompt_ids, chat } = raw.source;
        let source = match (prompt, prompt_file, prompt_ids) {
            (Some(text), _, _) => Source::Text(text),
            (_, Some(file), _) => Source::File(file),
            (_, _, Some(ids)) => Source::Ids(ids),
            _ => chat.and_then(|mut texts| texts.pop()).map_or(Source::Conversation, Source::Chat),
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
            certificate: raw.certificate,
            calibration: raw.calibration,
            record: raw.record,
            control_from: raw.control_from,
            kv_policy: raw.kv_policy,
            kv_dtype: raw.kv_dtype,
            speculation: raw.speculate.map(|length| Speculation {
                length,
                accept: raw.accept,
                ..Speculation::default()
            }),
            depth_map: raw.depth_map,
            usage: raw.usage,
            dtype: raw.dtype,
            max_new_tokens: raw.max_new_tokens,
            ignore_eos: raw.ignore_eos,
            stop: raw.stop,
            sampling,
            seed: raw.seed,
            json: raw.json,
            logits_top: raw.logits_top,
            only_for_generation,
        }
    }

    /// The options that were given and have no effect beside the others, each with the reason.
    pub fn without_effect(&self) -> Vec<(String, &'static str)> {
        if self.logits_top.is_some() {
            return self.only_for_generation.iter().map(|option| (option.clone(), "with --logits-top")).collect();
        }
        let sampling = self.sampling.without_effect().into_iter();
        let mut found: Vec<(String, &'static str)> =
            sampling.map(|field| (format!("--{}", field.replace('_', "-")), "at temperature 0")).collect();
        let full = matches!(self.controller, ControllerSpec::Full(_)) && self.certificate.is_none();
        // Which controller a certificate names is not known yet.
        let calibrated = self.controller.needs().calibration || self.certificate.is_some();
        let spec = self.controller.to_string();
        // The seed is for sampling, for controllers that draw, and for the clusters of states. A name within a file's
        // name only leaves out the warning.
        let draws = ["random", "bernoulli", "similarity"].iter().any(|name| spec.contains(name));
        let plain = matches!(self.source, Source::Text(_) | Source::File(_));
        for (option, useless, reason) in [
            ("--seed", self.seed != 0 && self.sampling.temperature <= 0.0 && !draws, "as nothing is drawn at random"),
            ("--calibration", self.calibration.is_some() && !calibrated, "as the controller needs no calibration"),
            ("--no-bos", self.model.no_bos && !plain && !calibrated, "as all texts are chats or token ids"),
            ("--kv-policy", self.kv_policy != KvPolicy::Propagate && full, "as the controller skips no layer"),
            ("--usage", self.usage && self.json, "with --json"),
        ] {
            if useless {
                found.push((option.to_owned(), reason));
            }
        }
        found
    }
}
