//! Errors in the form of OpenAI's API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynlayer::inference::sampling::SamplingError;
use dynlayer::inference::{ControllerError, GenerateError, TokenProblem};
use dynlayer_examples::chain;
use serde_json::{Value, json};

/// The longest part of a wrong value that an error shows, in characters.
const SHOWN: usize = 60;

/// An error that a client gets: a status, and an object that names the wrong field.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// The field of the request that is wrong.
    param: Option<String>,
    code: &'static str,
}

impl ApiError {
    /// A request that is wrong in the field `param`, or as a whole.
    pub fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            param: param.map(str::to_owned),
            code: "invalid_value",
        }
    }

    /// A field with a wrong value.
    pub fn value(param: &str, found: &Value, expected: &str) -> Self {
        Self::invalid(Some(param), format!("`{param}` is {}; expected {expected}", shorten(found)))
    }

    /// A field that a request needs and does not have.
    pub fn missing(param: &str, expected: &str) -> Self {
        let message = format!("`{param}` is missing; expected {expected}");
        Self { code: "missing_required_parameter", ..Self::invalid(Some(param), message) }
    }

    /// A field that the server does not know, or knows with other values only.
    pub fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self { code: "unsupported_parameter", ..Self::invalid(Some(param), message) }
    }

    /// A URL, a method or a model that the server does not have.
    pub fn not_found(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, ..Self::invalid(None, message) }
    }

    /// A body that cannot be read.
    pub fn body(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: "invalid_body", ..Self::invalid(None, message) }
    }

    /// A full queue.
    pub fn busy(waiting: usize) -> Self {
        let message = format!("the queue is full: {waiting} sequences are waiting; try again in a second");
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: "queue_full", ..Self::invalid(None, message) }
    }

    /// A deadline that passed before the first pass.
    pub fn late() -> Self {
        let message = "the deadline passed while the request was waiting; try again later, or allow more time";
        Self { status: StatusCode::GATEWAY_TIMEOUT, code: "deadline", ..Self::invalid(None, message) }
    }

    /// A failure of the server.
    pub fn server(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "server_error", ..Self::invalid(None, message) }
    }

    /// A server that is shutting down, or whose worker has ended.
    pub fn stopped() -> Self {
        let message = "the server is shutting down";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "shutting_down", ..Self::invalid(None, message) }
    }

    /// The error as JSON, for a body or for an event of a stream.
    pub fn json(&self) -> Value {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, json_body(&self.json())).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<&GenerateError> for ApiError {
    fn from(error: &GenerateError) -> Self {
        match error {
            GenerateError::Tokens { problem, .. } => {
                let long = matches!(problem, TokenProblem::TooLong { .. });
                let code = if long { "context_length_exceeded" } else { "invalid_value" };
                Self { code, ..Self::invalid(Some("prompt"), format!("the prompt {problem}")) }
            }
            GenerateError::CacheFull { needed, limit, .. } => {
                let message = format!(
                    "the request may come to hold {needed} tokens; the server keeps at most {limit}: shorten the \
                     prompt, or lower `max_tokens`"
                );
                Self { code: "context_length_exceeded", ..Self::invalid(Some("max_tokens"), message) }
            }
            GenerateError::SpecialInStopString { .. } => Self::invalid(Some("stop"), error.to_string()),
            GenerateError::Draw { source: source @ SamplingError::Penalty { .. }, .. } => {
                Self::invalid(Some("repetition_penalty"), source.to_string())
            }
            GenerateError::Controller(ControllerError::Sequence { source, .. }) => {
                Self::invalid(Some("controller"), format!("the controller cannot be used: {}", chain(source)))
            }
            error => Self::server(chain(error)),
        }
    }
}

/// A JSON value as a body with its content type.
pub fn json_body(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}

/// The beginning of a value's JSON.
pub fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}
