//! A server with OpenAI's API, in which every request chooses the controller that decides which layers run.
//!
//! ```text
//! cargo run -p dynlayer-serve -- --model DIR|FILE.gguf --controller uniform:26
//! curl localhost:8000/v1/chat/completions -d '{"messages": [{"role": "user", "content": "Hello"}]}'
//! ```
//!
//! | path | answer |
//! |---|---|
//! | `POST /v1/chat/completions`, `POST /v1/completions` | text, whole or streamed |
//! | `GET /v1/models`, `GET /v1/models/NAME` | the one model |
//! | `GET /health` | 200, or 503 if no request can be answered |
//! | `GET /metrics` | counters for Prometheus |
//!
//! # Requests
//!
//! These fields of OpenAI's API are supported: `model`, `messages` (of texts) or `prompt`, `max_tokens` or
//! `max_completion_tokens`, `n`, `stream`, `stream_options.include_usage`, `stop`, `seed`, `temperature`, `top_p`,
//! `frequency_penalty`, `presence_penalty`, `logit_bias`, `logprobs` and `top_logprobs`. `user` and `metadata` are
//! ignored. Every other field is an error that names it, unless it is null. These fields are added:
//!
//! | field | meaning | default |
//! |---|---|---|
//! | `controller` | the controller in its text form, such as `confidence:0.9` | `--controller` |
//! | `add_special_tokens` | a completion's text gets the special tokens that the tokenizer adds | without `--no-bos` |
//! | `timeout` | the seconds that the request may take, up to `--timeout` | `--timeout` |
//! | `top_k`, `min_p`, `repetition_penalty` | as in `Sampling` | none |
//!
//! Requests with equal fields and equal seeds get equal texts, whatever else the server does. Without a seed, a request
//! gets a random one.
//!
//! # Answers
//!
//! Answers are OpenAI's, with these additions: `usage.layers_per_token` is the mean number of layers that the
//! controller asked for per decode pass (null without such a pass), `usage.layers` the model's number of layers, and
//! each choice has a `stop_reason`: `token`, `string`, `max-new-tokens`, `context-full` or `deadline`. The first two
//! are OpenAI's `finish_reason` "stop", the others "length".
//!
//! Log-probabilities are those of the model's own distribution, before temperature, penalties and biases. The token
//! that ends a text counts in `usage`, but has no log-probability.
//!
//! The time of a request begins when it arrives. If it is over before the sequence has left the queue, the answer is
//! error 504. Later, the answer is the text so far, with `finish_reason` "length" and `stop_reason` "deadline", because
//! clients discard the text of an error.
//!
//! With `--speculate auto` the controllers only draft tokens, and every text is the full model's; `usage.layers_per_token`
//! then counts the layers of drafts and checks.
//!
//! At most `--max-rows` sequences run at once, and `--queue` more wait; further ones get error 429. A client that
//! closes its connection gives up its sequences before the next pass, whether they wait or run.
#![forbid(unsafe_code)]

mod api;
mod error;
mod metrics;
mod request;
#[cfg(test)]
#[allow(clippy::float_cmp, reason = "counters hold whole numbers")]
mod tests;
mod worker;

use clap::Parser;
use dynlayer::inference::controllers::{ControllerSpec, Recording, Resources};
use dynlayer::inference::{ControlFrom, DraftLength, KvPolicy, RunSettings, Session, SessionOptions, Speculation};
use dynlayer::model::text::{ChatTemplate, Tokenizer};
use dynlayer::model::{KvDtype, Llama, WeightDtype};
use dynlayer_examples::arguments::{ModelArguments, draft_length};
use dynlayer_examples::{Loaded, calibration, chain};
use metrics::Metrics;
use std::error::Error;
use std::ffi::OsStr;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use worker::{Job, Worker};

/// The chat template of the embedded model, which has none of its own: it continues the last message.
const EMBEDDED_TEMPLATE: &str = "{{ messages[-1].content }}";

/// Serves a Llama-style model in the form of OpenAI's API, while a controller per request decides which layers run.
#[derive(Parser, Debug)]
#[command(name = "serve", args_override_self = true)]
struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The model's name in requests and answers; by default that of its file or folder.
    #[arg(long)]
    name: Option<String>,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 takes a free one, which is printed.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The controller of requests that name none; --help lists all of them.
    #[arg(long, value_name = "SPEC", default_value = "full", long_help = controllers())]
    controller: ControllerSpec,
    /// Another controller that requests may name, although it needs a measurement or a file; may be given more than
    /// once. Controllers that need neither are always available.
    #[arg(long, value_name = "SPEC")]
    prepare: Vec<ControllerSpec>,
    /// A text file to calibrate `influence` and `similarity` on; by default a built-in text, or problems for the
    /// embedded model.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// A Jinja file in place of the model's chat template.
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// The first token that the controller decides about: first-generated, last-prompt-token or all (the prompt's
    /// first).
    #[arg(long, default_value = "first-generated")]
    control_from: ControlFrom,
    /// The keys and values that later tokens see at skipped layers: propagate, deferred or omit.
    #[arg(long, default_value_t = KvPolicy::Propagate)]
    kv_policy: KvPolicy,
    /// The type in which keys and values are kept: f32, or f16 for half the memory.
    #[arg(long, default_value_t = KvDtype::F32)]
    kv_dtype: KvDtype,
    /// Let the controllers only draft tokens, which the full model checks, so that every text is the full model's: auto
    /// drafts as many as pay, N drafts N tokens per round.
    #[arg(long, value_name = "auto|N", value_parser = draft_length)]
    speculate: Option<DraftLength>,
    /// The type in which weights are kept: f32, f16, stored (as in the file) or q8 (8 bits); by default stored for a
    /// quantised GGUF file on flex, and f32 otherwise.
    #[arg(long, value_name = "TYPE")]
    dtype: Option<WeightDtype>,
    /// The largest number of sequences that run at once.
    #[arg(long, value_name = "N", default_value = "16")]
    max_rows: NonZeroUsize,
    /// The largest number of sequences that wait for a row.
    #[arg(long, value_name = "N", default_value = "64")]
    queue: NonZeroU16,
    /// The largest number of tokens of a prompt in one pass. Between two of them, other sequences get a token each.
    #[arg(long, value_name = "N", default_value = "512")]
    chunk: NonZeroUsize,
    /// The largest number of tokens that all running sequences together may come to hold; by default no limit.
    #[arg(long, value_name = "N")]
    max_cached_tokens: Option<usize>,
    /// The largest number of tokens to generate for requests that do not say.
    #[arg(long, value_name = "N", default_value = "256")]
    max_tokens: NonZeroUsize,
    /// The time that a request may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,
    /// Print a line per request to standard error.
    #[arg(long)]
    log: bool,
}

/// Returns the long help of `--controller`: the text forms of all built-in controllers.
fn controllers() -> String {
    let forms: Vec<String> = ControllerSpec::all().iter().map(ToString::to_string).collect();
    format!("The controller of requests that name none, in its text form:\n\n{}", forms.join("\n"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected a number of seconds from 0.001 to 86400".to_owned())
}

/// Everything that requests share.
struct Service {
    name: String,
    /// The time at which the server started, in seconds since 1970.
    created: u64,
    model: Arc<Llama>,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    stop_tokens: Vec<u32>,
    /// `true` if a completion's text gets the special tokens that the tokenizer adds. A request may say otherwise.
    bos: bool,
    /// Files and measurements of the operator's controllers. Requests can use them, and cause no further ones.
    resources: Resources,
    controller: ControllerSpec,
    max_tokens: usize,
    timeout: Duration,
    log: bool,
    /// The number of places in the queue.
    queue: usize,
    /// The free places in the queue.
    places: Arc<Semaphore>,
    jobs: mpsc::UnboundedSender<Job>,
    metrics: Arc<Metrics>,
}

impl Service {
    /// Loads the model, and prepares a worker for it.
    fn open(arguments: &Arguments) -> Result<(Self, Worker), Box<dyn Error>> {
        let path = arguments.model.model.as_deref();
        let Loaded { checkpoint, tokenizer, model } =
            Loaded::open_as(&arguments.model, arguments.dtype, WeightDtype::F32, false)?;
        let template = match &arguments.chat_template {
            Some(file) => Some(ChatTemplate::new(&read(file)?, tokenizer.special_tokens().clone())?),
            None if path.is_none() => Some(ChatTemplate::new(EMBEDDED_TEMPLATE, tokenizer.special_tokens().clone())?),
            None => tokenizer.chat_template()?,
        };
        let stop_tokens = checkpoint.stop_tokens(&tokenizer)?;
        let run = RunSettings {
            control_from: arguments.control_from,
            kv_policy: arguments.kv_policy,
            kv_dtype: arguments.kv_dtype,
            prefill_chunk: arguments.chunk.get(),
            ..RunSettings::default()
        };
        let resources = resources(arguments, &tokenizer, &model, run)?;
        let name = path.map_or(Some(OsStr::new("dynlayer-tiny")), Path::file_stem);
        let name = arguments.name.clone().or_else(|| Some(name?.to_string_lossy().into_owned()));
        let (model, tokenizer) = (Arc::new(model), Arc::new(tokenizer));
        let (jobs, queue) = mpsc::unbounded_channel();
        let metrics = Arc::new(Metrics::default());
        let options = SessionOptions {
            run,
            tokenizer: Some(tokenizer.clone().into()),
            max_cached_tokens: arguments.max_cached_tokens,
            speculation: arguments.speculate.map(|length| Speculation { length, ..Speculation::default() }),
            ..SessionOptions::default()
        };
        let worker = Worker::new(model.clone(), options, arguments.max_rows.get(), queue, metrics.clone())?;
        let service = Self {
            name: name.unwrap_or_else(|| "model".to_owned()),
            created: unix_seconds(),
            model,
            tokenizer,
            template,
            stop_tokens,
            bos: !arguments.model.no_bos,
            resources,
            controller: arguments.controller.clone(),
            max_tokens: arguments.max_tokens.get(),
            timeout: arguments.timeout,
            log: arguments.log,
            queue: arguments.queue.get().into(),
            places: Arc::new(Semaphore::new(arguments.queue.get().into())),
            jobs,
            metrics,
        };
        Ok((service, worker))
    }

    /// The number of sequences that wait for a row.
    fn waiting(&self) -> usize {
        self.queue.saturating_sub(self.places.available_permits())
    }
}

/// The seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads and measures what the controllers of the command line need, and checks them against the model.
///
/// Afterwards nothing more is read or measured: a request that names a file, or needs a measurement that was not made,
/// is refused.
fn resources(
    arguments: &Arguments,
    tokenizer: &Tokenizer,
    model: &Llama,
    run: RunSettings,
) -> Result<Resources, Box<dyn Error>> {
    let mut resources = if arguments.model.model.is_none() { dynlayer_tiny::resources() } else { Resources::new() };
    let specs = || std::iter::once(&arguments.controller).chain(&arguments.prepare);
    for file in specs().flat_map(|spec| spec.needs().files).filter(|file| file.is_file()) {
        resources = match Recording::load(&file) {
            Ok(recording) => resources.recording(file, recording),
            Err(_) => {
                let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                resources.router(file, bytes)
            }
        };
    }
    if specs().any(|spec| spec.needs().calibration) {
        let file = arguments.calibration.as_deref();
        resources = resources.texts(calibration::texts(file, &arguments.model, tokenizer, model)?);
    }
    for spec in specs() {
        let options = SessionOptions { run, ..SessionOptions::default() };
        Session::new(model, spec.build(model, &resources)?, options)
            .map_err(|error| format!("{spec}: {}", chain(&error)))?;
    }
    Ok(resources.texts(Vec::new()).without_files())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let listening = |address| println!("listening on http://{address}");
    dynlayer_examples::main_of(|| serve(&arguments, listening, interrupted()))
}

/// Serves until `stop` is ready, and then finishes the requests that came before. Calls `listening` with the address.
fn serve(
    arguments: &Arguments,
    listening: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let (service, worker) = Service::open(arguments)?;
    let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(move || worker.run())?;
    // Two threads: requests are short work beside the model's.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let listener = TcpListener::bind((arguments.host.as_str(), arguments.port)).await?;
        listening(listener.local_addr()?);
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopping.send(());
        };
        let serving = axum::serve(listener, api::router(service)).with_graceful_shutdown(stop).into_future();
        // By then all deadlines have passed, and what is still open has sent no request.
        let limit = async {
            let _ = stopped.await;
            tokio::time::sleep(arguments.timeout + Duration::from_secs(1)).await;
        };
        tokio::select! {
            result = serving => result,
            () = limit => Ok(()),
        }
    });
    // Drops the connections and with them the service, without which the worker ends.
    drop(runtime);
    worker.join().map_err(|_| "the worker panicked")?;
    result.map_err(|error| format!("{}:{}: {error}", arguments.host, arguments.port).into())
}

/// Waits for ctrl-c or, on Unix, for the signal that asks a service to end.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
