//! The HTTP side: paths, whole and streamed answers, and the JSON that OpenAI's clients read.

use crate::error::{ApiError, json_body};
use crate::request::{self, Endpoint, Order};
use crate::worker::{Job, News, Update};
use crate::{Service, unix_seconds};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dynlayer::inference::{Stop, TokenEvent};
use dynlayer::model::text::Tokenizer;
use futures_util::stream::{StreamExt, unfold};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 4 << 20;
/// The time in which a body must arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The status that is counted for a client that went away; it has become customary for this.
const CLIENT_GONE: u16 = 499;
/// The smallest log-probability that is shown, as JSON has no infinity.
const LEAST_LOG_PROBABILITY: f64 = -9999.0;

/// The paths of the server.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(service))
}

async fn chat(State(service): State<Arc<Service>>, request: Request) -> Response {
    answer(service, Endpoint::Chat, request).await
}

async fn completions(State(service): State<Arc<Service>>, request: Request) -> Response {
    answer(service, Endpoint::Completions, request).await
}

async fn models(State(service): State<Arc<Service>>) -> impl IntoResponse {
    json_body(&json!({"object": "list", "data": [model_json(&service)]}))
}

async fn model(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Response {
    if name == service.name {
        return json_body(&model_json(&service)).into_response();
    }
    let message = format!("the model {name:?} does not exist; this server has {:?}", service.name);
    ApiError::not_found(StatusCode::NOT_FOUND, "model_not_found", message).into_response()
}

fn model_json(service: &Service) -> Value {
    json!({"id": service.name, "object": "model", "created": service.created, "owned_by": "dynlayer"})
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    if service.jobs.is_closed() {
        return ApiError::stopped().into_response();
    }
    json_body(&json!({"status": "ok"})).into_response()
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], service.metrics.text(service.waiting()))
}

async fn unknown_path(method: Method, uri: Uri) -> ApiError {
    let message =
        format!("there is no {method} {}; this server has /v1/chat/completions and /v1/completions", uri.path());
    ApiError::not_found(StatusCode::NOT_FOUND, "unknown_url", message)
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not allow {method}; use POST to generate and GET otherwise", uri.path());
    ApiError::not_found(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// The record of a request, which is counted and logged when it ends, however it ends.
struct Record {
    service: Arc<Service>,
    path: &'static str,
    arrived: Instant,
    status: u16,
    /// The rest of the line in the log: the error, or the work.
    note: String,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.service.metrics.request(self.path, self.status);
        if self.service.log {
            let seconds = self.arrived.elapsed().as_secs_f64();
            eprintln!("{} {} in {seconds:.3} s: {}", self.path, self.status, self.note);
        }
    }
}

/// Answers a request for text.
async fn answer(service: Arc<Service>, endpoint: Endpoint, request: Request) -> Response {
    let (path, arrived) = (endpoint.path(), Instant::now());
    let mut record =
        Record { service: service.clone(), path, arrived, status: CLIENT_GONE, note: "gave up".to_owned() };
    let (order, updates) = match submit(&service, endpoint, request, arrived).await {
        Ok(submitted) => submitted,
        Err(error) => return refuse(&mut record, error),
    };
    let mut answer = Answer::new(service, endpoint, &order, updates, record);
    // The status is known when the first sequence has joined.
    let first = match answer.next_update().await {
        Ok(first) => first,
        Err(error) => return refuse(&mut answer.record, error),
    };
    if order.stream {
        answer.stream(first);
        return Sse::new(unfold(answer, Answer::next_event)).keep_alive(KeepAlive::default()).into_response();
    }
    while answer.running > 0 {
        if let Err(error) = answer.next_update().await {
            return refuse(&mut answer.record, error);
        }
    }
    let choices = (0..answer.choices.len()).map(|choice| answer.choice(choice, false)).collect();
    answer.succeed();
    json_body(&answer.body(false, choices, answer.usage())).into_response()
}

fn refuse(record: &mut Record, error: ApiError) -> Response {
    record.status = error.status.as_u16();
    record.note.clone_from(&error.message);
    error.into_response()
}

/// Reads a request and puts its sequences into the queue.
async fn submit(
    service: &Arc<Service>,
    endpoint: Endpoint,
    request: Request,
    arrived: Instant,
) -> Result<(Order, UnboundedReceiver<Update>), ApiError> {
    let body = tokio::time::timeout(BODY_TIME, read_body(request)).await.map_err(|_| {
        let message = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
        ApiError::body(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    // Tokenizers and templates may take a while, and other connections go on meanwhile.
    let reader = service.clone();
    let mut order = tokio::task::spawn_blocking(move || request::read(&reader, endpoint, &body, arrived))
        .await
        .map_err(|_| ApiError::server("reading the request panicked; the server's log has the message"))??;

    // All sequences of a request get a place, or none does.
    let sequences = std::mem::take(&mut order.sequences);
    let count = u32::try_from(sequences.len()).unwrap_or(u32::MAX);
    let places = service.places.clone().try_acquire_many_owned(count);
    let mut places = places.map_err(|_| ApiError::busy(service.waiting()))?;
    let (updates, receiver) = unbounded_channel();
    for (choice, sequence) in sequences.into_iter().enumerate() {
        let Some(place) = places.split(1) else { break };
        let job = Job { sequence, choice, updates: updates.clone(), arrived, place };
        service.jobs.send(job).map_err(|_| ApiError::stopped())?;
    }
    Ok((order, receiver))
}

async fn read_body(request: Request) -> Result<Vec<u8>, ApiError> {
    let (mut parts, mut body, mut length) = (request.into_body().into_data_stream(), Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part =
            part.map_err(|error| ApiError::body(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))?;
        length += part.len();
        // A client that is still sending would not see the answer, so what is too much is read and dropped.
        if length <= MAX_BODY {
            body.extend_from_slice(&part);
        }
    }
    if length > MAX_BODY {
        let message = format!("the body has {length} bytes; expected {MAX_BODY} at most");
        return Err(ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(body)
}

/// A token with its log-probabilities.
struct Logged {
    token: u32,
    log_probability: f64,
    likeliest: Vec<(u32, f64)>,
}

/// The part of a choice that was not sent yet.
#[derive(Default)]
struct Choice {
    text: String,
    logged: Vec<Logged>,
    /// The length of the logged tokens before these, in characters.
    offset: usize,
    stop: Option<Stop>,
}

/// An answer as it grows. Dropping it cancels its sequences.
struct Answer {
    service: Arc<Service>,
    endpoint: Endpoint,
    id: String,
    /// The time at which it began, in seconds since 1970.
    created: u64,
    include_usage: bool,
    log_probabilities: bool,
    controller: String,
    updates: UnboundedReceiver<Update>,
    choices: Vec<Choice>,
    /// The number of choices that have not ended.
    running: usize,
    prompt_tokens: usize,
    tokens: u64,
    passes: u64,
    layers: f64,
    /// The events of a stream that were not sent yet.
    events: VecDeque<String>,
    /// `true` after the last event.
    complete: bool,
    record: Record,
}

impl Answer {
    fn new(
        service: Arc<Service>,
        endpoint: Endpoint,
        order: &Order,
        updates: UnboundedReceiver<Update>,
        record: Record,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let kind = if endpoint == Endpoint::Chat { "chatcmpl" } else { "cmpl" };
        let id = format!("{kind}-{:x}-{}", service.created, NUMBER.fetch_add(1, Ordering::Relaxed));
        Self {
            service,
            endpoint,
            id,
            created: unix_seconds(),
            include_usage: order.include_usage,
            log_probabilities: order.log_probabilities,
            controller: order.controller.clone(),
            updates,
            choices: (0..order.choices).map(|_| Choice::default()).collect(),
            running: order.choices,
            prompt_tokens: order.prompt_tokens,
            tokens: 0,
            passes: 0,
            layers: 0.0,
            events: VecDeque::new(),
            complete: false,
            record,
        }
    }

    /// Waits for the next update, and adds it to its choice. Returns the choice, and `true` if it has just joined.
    async fn next_update(&mut self) -> Result<(usize, bool), ApiError> {
        let Update { choice, news } = self.updates.recv().await.ok_or_else(ApiError::stopped)?;
        let at = &mut self.choices[choice];
        match news {
            News::Joined => return Ok((choice, true)),
            News::Token(TokenEvent { token, text, stop, log_probability, likeliest, .. }) => {
                at.text.push_str(&text);
                if let Some(log_probability) = log_probability.filter(|_| !matches!(stop, Some(Stop::Token(_)))) {
                    at.logged.push(Logged { token, log_probability, likeliest });
                }
            }
            News::Ended { text, stop, tokens, passes, layers } => {
                at.text.push_str(&text);
                at.stop = stop;
                self.tokens += tokens;
                self.passes += passes;
                self.layers += layers;
                self.running -= 1;
            }
            News::Failed(error) => return Err(error),
        }
        Ok((choice, false))
    }

    /// Returns the next event of a stream.
    async fn next_event(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some((Ok(Event::default().data(event)), self));
            }
            if self.complete {
                return None;
            }
            match self.next_update().await {
                Ok(update) => self.stream(update),
                Err(error) => {
                    self.record.status = error.status.as_u16();
                    self.record.note.clone_from(&error.message);
                    self.events.push_back(error.json().to_string());
                    self.complete = true;
                }
            }
        }
    }

    /// Adds the events that follow an update.
    fn stream(&mut self, (choice, joined): (usize, bool)) {
        let Choice { text, stop, .. } = &self.choices[choice];
        if joined && self.endpoint == Endpoint::Chat {
            let role = json!({"role": "assistant", "content": ""});
            let role = json!({"index": choice, "delta": role, "logprobs": null, "finish_reason": null});
            self.events.push_back(self.body(true, vec![role], Value::Null).to_string());
        } else if !text.is_empty() || stop.is_some() {
            let part = self.choice(choice, true);
            self.events.push_back(self.body(true, vec![part], Value::Null).to_string());
        }
        if self.running == 0 {
            if self.include_usage {
                self.events.push_back(self.body(true, Vec::new(), self.usage()).to_string());
            }
            self.events.push_back("[DONE]".to_owned());
            self.complete = true;
            self.succeed();
        }
    }

    /// Records that the answer is complete.
    fn succeed(&mut self) {
        self.record.status = StatusCode::OK.as_u16();
        let depth = self.depth().map_or("no".to_owned(), |depth| format!("{depth:.2}"));
        let (prompt, tokens, controller) = (self.prompt_tokens, self.tokens, &self.controller);
        self.record.note = format!("{prompt} and {tokens} tokens, {depth} layers per token under {controller}");
    }

    /// Mean layers per decode pass that the controller asked for; `None` without such a pass.
    fn depth(&self) -> Option<f64> {
        (self.passes > 0).then(|| self.layers / self.passes as f64)
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens as u64 + self.tokens,
            "layers_per_token": self.depth(),
            "layers": self.service.model.config().n_layers,
        })
    }

    /// The whole answer, or an event of a stream.
    fn body(&self, streamed: bool, choices: Vec<Value>, usage: Value) -> Value {
        let object = match (self.endpoint, streamed) {
            (Endpoint::Chat, false) => "chat.completion",
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Completions, _) => "text_completion",
        };
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.service.name,
            "choices": choices,
            "usage": usage,
        })
    }

    /// Takes what a choice has, as a choice of a whole answer or of an event.
    fn choice(&mut self, index: usize, streamed: bool) -> Value {
        let choice = &mut self.choices[index];
        let (text, logged) = (std::mem::take(&mut choice.text), std::mem::take(&mut choice.logged));
        let log_probabilities = match self.endpoint {
            _ if !self.log_probabilities => Value::Null,
            Endpoint::Chat => chat_log_probabilities(&self.service.tokenizer, &logged),
            Endpoint::Completions => log_probabilities(&self.service.tokenizer, &logged, &mut choice.offset),
        };
        let finish = choice.stop.as_ref().map(|stop| match stop {
            Stop::Token(_) | Stop::String(_) => "stop",
            _ => "length",
        });
        let (name, content) = match (self.endpoint, streamed) {
            (Endpoint::Chat, false) => ("message", json!({"role": "assistant", "content": text, "refusal": null})),
            (Endpoint::Chat, true) if text.is_empty() => ("delta", json!({})),
            (Endpoint::Chat, true) => ("delta", json!({"content": text})),
            (Endpoint::Completions, _) => ("text", text.into()),
        };
        json!({
            "index": index,
            name: content,
            "logprobs": log_probabilities,
            "finish_reason": finish,
            "stop_reason": choice.stop.as_ref().map(Stop::to_string),
        })
    }
}

/// The log-probabilities of a chat's answer.
fn chat_log_probabilities(tokenizer: &Tokenizer, logged: &[Logged]) -> Value {
    let entry = |token: u32, log_probability: f64| {
        let text = token_text(tokenizer, token);
        // A part of a character has no text of its own.
        let bytes = (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| text.as_bytes().to_vec());
        json!({"token": text, "logprob": log_probability.max(LEAST_LOG_PROBABILITY), "bytes": bytes})
    };
    let content = logged.iter().map(|Logged { token, log_probability, likeliest }| {
        let mut content = entry(*token, *log_probability);
        content["top_logprobs"] = likeliest.iter().map(|(token, log)| entry(*token, *log)).collect();
        content
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}

/// The log-probabilities of a completion, whose tokens begin at character `offset`.
fn log_probabilities(tokenizer: &Tokenizer, logged: &[Logged], offset: &mut usize) -> Value {
    let (mut tokens, mut values, mut likeliest, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in logged {
        let text = token_text(tokenizer, at.token);
        offsets.push(*offset);
        *offset += text.chars().count();
        let log_probability = at.log_probability.max(LEAST_LOG_PROBABILITY);
        let entry = |(token, log): &(u32, f64)| (token_text(tokenizer, *token), log.max(LEAST_LOG_PROBABILITY).into());
        let mut top: Map<String, Value> = at.likeliest.iter().map(entry).collect();
        // OpenAI's form has the chosen token too, unless no alternatives were asked for.
        if !top.is_empty() {
            top.insert(text.clone(), log_probability.into());
        }
        tokens.push(text);
        values.push(log_probability);
        likeliest.push(if top.is_empty() { Value::Null } else { top.into() });
    }
    json!({"tokens": tokens, "token_logprobs": values, "top_logprobs": likeliest, "text_offset": offsets})
}

/// The text of a token in the middle of a text. Some tokenizers drop the space before a text's first token, so the
/// token is decoded after itself.
fn token_text(tokenizer: &Tokenizer, token: u32) -> String {
    // A decoder that fails would have failed on the text before.
    let decode = |tokens: &[u32]| tokenizer.decode(tokens, false).unwrap_or_default();
    let (once, twice) = (decode(&[token]), decode(&[token, token]));
    twice.strip_prefix(once.as_str()).map(str::to_owned).unwrap_or(once)
}
