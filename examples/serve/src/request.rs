//! Reading of a request: the fields of the JSON become prompts, options and controllers.

use crate::Service;
use crate::error::{ApiError, shorten};
use crate::worker::Sequence;
use axum::http::StatusCode;
use dynlayer::inference::controllers::{BuildError, ControllerSpec};
use dynlayer::inference::sampling::{Sampling, SamplingError};
use dynlayer::inference::{Controller, LogitsHook, SequenceOptions};
use dynlayer::model::text::{ChatMessage, TextError};
use dynlayer_examples::chain;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The paths that generate text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Chat,
    Completions,
}

impl Endpoint {
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

/// A request whose fields have been checked.
pub struct Order {
    /// One sequence for each choice.
    pub sequences: Vec<Sequence>,
    /// The number of choices.
    pub choices: usize,
    /// The number of tokens of the prompts; a prompt with several choices counts once.
    pub prompt_tokens: usize,
    pub stream: bool,
    /// `true` if a stream ends with the usage.
    pub include_usage: bool,
    /// `true` if the answer has log-probabilities.
    pub log_probabilities: bool,
    /// The controller's text form.
    pub controller: String,
}

/// Fields that change no text, and are accepted with any value: a caller's own labels.
const LABELS: [&str; 2] = ["metadata", "user"];

/// Fields that are accepted with the one value that asks for nothing, as some clients always send them.
fn idle_fields() -> [(&'static str, Value); 5] {
    [
        ("best_of", json!(1)),
        ("echo", json!(false)),
        ("response_format", json!({"type": "text"})),
        ("store", json!(false)),
        ("suffix", json!("")),
    ]
}

/// Reads a request that came at `arrived`.
///
/// # Errors
/// The first field that is wrong, missing, or not supported.
pub fn read(service: &Service, endpoint: Endpoint, body: &[u8], arrived: Instant) -> Result<Order, ApiError> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(None, format!("the body is not JSON: {error}; expected an object")))?;
    let mut fields = Fields::new("", body)?;
    if let Some(model) = fields.text("model")?.filter(|model| *model != service.name) {
        let message = format!("the model {model:?} does not exist; this server has {:?}", service.name);
        return Err(ApiError::not_found(StatusCode::NOT_FOUND, "model_not_found", message));
    }
    let prompts = match endpoint {
        Endpoint::Chat => vec![chat(service, &mut fields)?],
        Endpoint::Completions => prompts(service, &mut fields)?,
    };
    let choices = fields.count("n", 1..=service.queue)?.unwrap_or(1);
    if prompts.len() * choices > service.queue {
        let message =
            format!("{} prompts with `n` = {choices}; expected {} in all at most", prompts.len(), service.queue);
        return Err(ApiError::invalid(Some("n"), message));
    }
    let (spec, stream) = (controller(service, &mut fields)?, fields.flag("stream")?);
    let include_usage = include_usage(&mut fields, stream)?;
    let logits = Logits::read(service, &mut fields)?;
    let options = SequenceOptions {
        max_new_tokens: max_tokens(&mut fields)?.unwrap_or(service.max_tokens),
        stop_tokens: service.stop_tokens.clone(),
        stop_strings: stops(&mut fields)?,
        sampling: sampling(&mut fields)?,
        seed: Some(seed(&mut fields)?),
        log_probabilities: log_probabilities(endpoint, &mut fields)?,
        deadline: Some(arrived + time(service, &mut fields)?),
        ..SequenceOptions::default()
    };
    fields.end()?;

    let log_probabilities = options.log_probabilities.is_some();
    let prompt_tokens = prompts.iter().map(Vec::len).sum();
    let mut sequences = Vec::new();
    for prompt in prompts {
        for choice in 0..choices {
            // The draws depend on the seed and the number of the choice, not on other requests.
            let logits_hook = logits.hook(prompt.len());
            let options = SequenceOptions { stream: Some(choice as u64), logits_hook, ..options.clone() };
            let controller = build(service, &spec)?;
            sequences.push(Sequence { prompt: prompt.clone(), options, controller });
        }
    }
    let (choices, controller) = (sequences.len(), spec.to_string());
    Ok(Order { sequences, choices, prompt_tokens, stream, include_usage, log_probabilities, controller })
}

/// The prompt of a conversation.
fn chat(service: &Service, fields: &mut Fields) -> Result<Vec<u32>, ApiError> {
    let expected = "a list of at least one message";
    let messages =
        fields.take("messages", expected, |value| value.as_array().filter(|list| !list.is_empty()).cloned())?;
    let messages = messages.ok_or_else(|| ApiError::missing("messages", expected))?;
    let message = |(at, value)| message(&format!("messages[{at}]."), value);
    let messages: Vec<ChatMessage> = messages.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
    let template = service.template.as_ref().ok_or_else(|| {
        ApiError::invalid(None, "the model has no chat template; use /v1/completions, or start with --chat-template")
    })?;
    let text = template.render(&messages, true).map_err(|error| ApiError::invalid(Some("messages"), chain(&error)))?;
    service.tokenizer.encode(&text, false).map_err(|error| ApiError::invalid(Some("messages"), chain(&error)))
}

fn message(at: &str, value: Value) -> Result<ChatMessage, ApiError> {
    let mut fields = Fields::new(at, value)?;
    let expected = "system, developer, user or assistant";
    let role = fields.take("role", expected, |value| match value.as_str()? {
        // The newer name of the same role, which templates do not know.
        "developer" => Some("system"),
        role => ["system", "user", "assistant"].into_iter().find(|known| *known == role),
    })?;
    let role = role.ok_or_else(|| ApiError::missing(&fields.path("role"), expected))?;
    let expected = "a text, or a list of parts of the type text";
    let content = fields.take("content", expected, |value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(part).collect(),
        _ => None,
    })?;
    let content = content.ok_or_else(|| ApiError::missing(&fields.path("content"), expected))?;
    fields.end()?;
    Ok(ChatMessage::new(role, content))
}

/// The text of a part of a message.
fn part(part: &Value) -> Option<&str> {
    let part = part.as_object().filter(|part| part.len() == 2)?;
    part.get("text")?.as_str().filter(|_| part.get("type").is_some_and(|kind| kind == "text"))
}

/// The prompts of a completion: a text, a list of texts, token ids, or a list of lists of token ids.
fn prompts(service: &Service, fields: &mut Fields) -> Result<Vec<Vec<u32>>, ApiError> {
    let expected = "a text, a list of texts, a list of token ids, or a list of such lists";
    let special = fields.take("add_special_tokens", "true or false", Value::as_bool)?.unwrap_or(service.bos);
    let prompt = |value: &Value| prompt(service, special, value);
    let several = |list: &Vec<Value>| list.first().is_some_and(|first| !first.is_number());
    let prompts = fields.take("prompt", expected, |value| match value {
        Value::Array(list) if several(list) => list.iter().map(prompt).collect(),
        one => Some(vec![prompt(one)?]),
    })?;
    let prompts = prompts.ok_or_else(|| ApiError::missing("prompt", expected))?;
    let prompts: Result<_, TextError> = prompts.into_iter().collect();
    prompts.map_err(|error| ApiError::invalid(Some("prompt"), chain(&error)))
}

/// The tokens of one prompt; `None` if the value is neither a text nor token ids.
fn prompt(service: &Service, special: bool, value: &Value) -> Option<Result<Vec<u32>, TextError>> {
    match value {
        Value::String(text) => Some(service.tokenizer.encode(text, special)),
        Value::Array(ids) => ids.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect::<Option<_>>().map(Ok),
        _ => None,
    }
}

/// The specification of the controller.
fn controller(service: &Service, fields: &mut Fields) -> Result<ControllerSpec, ApiError> {
    let Some(text) = fields.text("controller")? else { return Ok(service.controller.clone()) };
    text.parse().map_err(|error| ApiError::invalid(Some("controller"), chain(&error)))
}

fn build(service: &Service, spec: &ControllerSpec) -> Result<Box<dyn Controller + Send>, ApiError> {
    spec.build(&service.model, &service.resources).map_err(|error| {
        let message = match &error {
            BuildError::NoCalibrationText { .. } => {
                format!("{spec} needs a measurement that this server has not made; start it with --prepare {spec}")
            }
            error => chain(error),
        };
        ApiError::invalid(Some("controller"), message)
    })
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let expected = "an object, in a request with `stream`";
    let options = fields.take("stream_options", expected, |value| value.is_object().then(|| value.clone()))?;
    let Some(options) = options else { return Ok(false) };
    if !stream {
        return Err(ApiError::value("stream_options", &options, expected));
    }
    let mut options = Fields::new("stream_options.", options)?;
    let include_usage = options.flag("include_usage")?;
    options.end()?;
    Ok(include_usage)
}

fn max_tokens(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let old = fields.count("max_tokens", 1..=usize::MAX)?;
    let new = fields.count("max_completion_tokens", 1..=usize::MAX)?;
    if old.is_some() && new.is_some() {
        let message = "both `max_tokens` and `max_completion_tokens` are given; expected one of them";
        return Err(ApiError::invalid(Some("max_tokens"), message));
    }
    Ok(old.or(new))
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let stops = fields.take("stop", "a text or up to 4 texts, none of them empty", |value| {
        let stops: Vec<String> = match value {
            Value::Array(list) => list.iter().map(|stop| stop.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            one => vec![one.as_str()?.to_owned()],
        };
        (stops.len() <= 4 && stops.iter().all(|stop| !stop.is_empty())).then_some(stops)
    })?;
    Ok(stops.unwrap_or_default())
}

fn sampling(fields: &mut Fields) -> Result<Sampling, ApiError> {
    let sampling = Sampling {
        temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(1.0),
        top_p: fields.number("top_p", 0.0..=1.0)?,
        top_k: fields.count("top_k", 1..=usize::MAX)?,
        min_p: fields.number("min_p", 0.0..=1.0)?,
        repetition_penalty: fields.number("repetition_penalty", 0.0..=10.0)?.unwrap_or(1.0),
    };
    sampling.validate().map_err(|error| match error {
        SamplingError::Range { field, .. } => ApiError::invalid(Some(field), error.to_string()),
        error => ApiError::invalid(None, error.to_string()),
    })?;
    Ok(sampling)
}

/// The seed of the request; without one, a random number.
fn seed(fields: &mut Fields) -> Result<u64, ApiError> {
    let seed = fields.take("seed", "an integer of 64 bits", |value| {
        value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned))
    })?;
    Ok(seed.unwrap_or_else(|| RandomState::new().hash_one(0)))
}

/// The number of the likeliest tokens that the answer shows; `None` without log-probabilities.
fn log_probabilities(endpoint: Endpoint, fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    if endpoint == Endpoint::Completions {
        return fields.count("logprobs", 0..=5);
    }
    let shown = fields.flag("logprobs")?;
    let likeliest = fields.count("top_logprobs", 0..=20)?;
    match likeliest {
        Some(_) if !shown => {
            Err(ApiError::invalid(Some("top_logprobs"), "`top_logprobs` is given without `logprobs`; set it to true"))
        }
        likeliest => Ok(shown.then(|| likeliest.unwrap_or(0))),
    }
}

/// The time that the request may take.
fn time(service: &Service, fields: &mut Fields) -> Result<Duration, ApiError> {
    let longest = service.timeout;
    let expected = format!("a number of seconds above 0 and up to {}", longest.as_secs_f64());
    let time = fields.take("timeout", &expected, |value| {
        let time = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
        (!time.is_zero() && time <= longest).then_some(time)
    })?;
    Ok(time.unwrap_or(longest))
}

/// The fields that change the logits.
struct Logits {
    bias: Vec<(u32, f32)>,
    frequency: f32,
    presence: f32,
}

impl Logits {
    fn read(service: &Service, fields: &mut Fields) -> Result<Self, ApiError> {
        let vocabulary = service.model.config().vocab_size;
        let expected = format!("an object of token ids below {vocabulary} and numbers from -100 to 100");
        let bias = fields.take("logit_bias", &expected, |value| {
            let bias = |(id, bias): (&String, &Value)| {
                let id = id.parse().ok().filter(|id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocabulary))?;
                Some((id, number(bias).filter(|bias| (-100.0..=100.0).contains(bias))?))
            };
            value.as_object()?.iter().map(bias).collect()
        })?;
        Ok(Self {
            bias: bias.unwrap_or_default(),
            frequency: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0),
            presence: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0),
        })
    }

    /// The change of the logits of a sequence whose prompt has this many tokens. OpenAI's penalties count the tokens of
    /// the output only.
    fn hook(&self, prompt: usize) -> Option<LogitsHook> {
        let Self { ref bias, frequency, presence } = *self;
        if bias.is_empty() && frequency == 0.0 && presence == 0.0 {
            return None;
        }
        let bias = bias.clone();
        Some(Arc::new(move |tokens, logits| {
            let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
            for token in tokens.get(prompt..).unwrap_or_default() {
                *counts.entry(*token).or_default() += 1.0;
            }
            let penalties = counts.into_iter().map(|(token, count)| (token, -count * frequency - presence));
            for (token, change) in penalties.chain(bias.iter().copied()) {
                if let Some(logit) = usize::try_from(token).ok().and_then(|token| logits.get_mut(token)) {
                    *logit += change;
                }
            }
        }))
    }
}

/// The fields of an object that are not read yet.
struct Fields {
    /// The path of the object, before the names of its fields.
    at: String,
    fields: Map<String, Value>,
}

impl Fields {
    /// Takes the fields of an object. A field that is null counts as left out.
    fn new(at: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(mut fields) => {
                fields.retain(|_, value| !value.is_null());
                Ok(Self { at: at.to_owned(), fields })
            }
            other if at.is_empty() => {
                Err(ApiError::invalid(None, format!("the body is {}; expected an object", shorten(&other))))
            }
            other => Err(ApiError::value(at.trim_end_matches('.'), &other, "an object")),
        }
    }

    /// The path of a field.
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.at)
    }

    /// Reads a field, if it is there.
    fn take<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.fields.remove(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| ApiError::value(&self.path(name), &value, expected))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.take(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A field that is `false` if it is left out.
    fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        Ok(self.take(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    fn number(&mut self, name: &str, range: RangeInclusive<f32>) -> Result<Option<f32>, ApiError> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.take(name, &expected, |value| number(value).filter(|number| range.contains(number)))
    }

    fn count(&mut self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
        let expected = match range.end() {
            &usize::MAX => format!("an integer of at least {}", range.start()),
            end => format!("an integer from {} to {end}", range.start()),
        };
        self.take(name, &expected, |value| usize::try_from(value.as_u64()?).ok().filter(|count| range.contains(count)))
    }

    /// Refuses the fields that were not read, except for those that ask for nothing.
    fn end(mut self) -> Result<(), ApiError> {
        if self.at.is_empty() {
            self.fields.retain(|name, _| !LABELS.contains(&name.as_str()));
            for (name, idle) in idle_fields() {
                if let Some(value) = self.fields.remove(name).filter(|value| *value != idle) {
                    let value = shorten(&value);
                    let message = format!("`{name}` is {value}; this server supports {idle} only: leave it out");
                    return Err(ApiError::unsupported(name, message));
                }
            }
        }
        match self.fields.keys().next() {
            Some(name) => {
                let path = self.path(name);
                Err(ApiError::unsupported(&path, format!("`{path}` is not supported by this server; leave it out")))
            }
            None => Ok(()),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded, and the range is checked afterwards")]
fn number(value: &Value) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}
