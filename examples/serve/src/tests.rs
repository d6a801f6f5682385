//! Tests of the server on loopback, with the embedded model.

use super::*;
use crate::worker::{Job, News, Sequence, Update};
use dynlayer::inference::SequenceOptions;
use dynlayer::inference::controllers::FullDepth;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A server that stops when it is dropped.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(options: &[&str]) -> Self {
        let arguments = Arguments::parse_from(["serve", "--port", "0"].iter().chain(options));
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, address) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(&arguments, |address| listening.send(address).unwrap(), stopped).unwrap();
        });
        let address = address.recv().expect("the server did not start");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Opens a connection and sends a request.
    fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    /// Returns the status, the headers and the body of the answer.
    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut answer = String::new();
        self.send(method, path, body).read_to_string(&mut answer).unwrap();
        let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = headers.to_ascii_lowercase();
        let chunked = headers.contains("transfer-encoding: chunked");
        let body = if chunked { without_chunks(body) } else { body.to_owned() };
        (status, headers, body)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.request("POST", path, &body.to_string());
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Completes a prompt greedily, unless `more` has a temperature.
    fn complete(&self, prompt: &str, more: Value) -> Value {
        let (status, answer) = self.post("/v1/completions", &with(json!({"prompt": prompt, "temperature": 0}), more));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Returns the JSON of the events of a stream, which must end as one should.
    fn events(&self, path: &str, body: Value) -> Vec<Value> {
        let (status, headers, body) = self.request("POST", path, &with(body, json!({"stream": true})).to_string());
        assert_eq!(status, 200, "{body}");
        assert!(headers.contains("content-type: text/event-stream"), "{headers}");
        let mut events: Vec<&str> = body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"));
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// Reads a number of /metrics.
    fn metric(&self, name: &str) -> f64 {
        let (_, _, text) = self.request("GET", "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a number of /metrics has this value.
    fn wait_for(&self, name: &str, value: f64) {
        let started = Instant::now();
        while (self.metric(name) - value).abs() > 0.1 {
            assert!(started.elapsed() < Duration::from_secs(30), "{name} does not become {value}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the server panicked");
    }
}

/// Decodes a body in chunks.
fn without_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

/// Adds fields to an object.
fn with(mut object: Value, more: Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A folder with the embedded model, but for texts of this length. Beyond 64 tokens they make no sense.
fn longer(positions: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/tiny/assets")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let config = folder.path().join("config.json");
    let mut edited: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    edited["max_position_embeddings"] = positions.into();
    fs::write(config, edited.to_string()).unwrap();
    folder
}

/// A server whose requests can take many seconds.
fn slow(folder: &TempDir, options: &[&str]) -> Running {
    Running::start(&[&["--model", folder.path().to_str().unwrap(), "--max-tokens", "8000"], options].concat())
}

/// A request that generates until it is cancelled: token 0 ends texts.
fn endless() -> Value {
    json!({"prompt": "sort 52938174=", "temperature": 0, "logit_bias": {"0": -100}})
}

#[test]
fn a_completion_has_text_and_usage() {
    let server = Running::start(&["--controller", "uniform:10", "--control-from", "last-prompt-token"]);
    let answer = server.complete("sort 52938174=", json!({"controller": "full"}));
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "dynlayer-tiny");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("12345789"), &json!("stop")));
    assert_eq!(choice["stop_reason"], "token");
    let usage = &answer["usage"];
    // Ten tokens of the prompt; eight digits and the token that ends them.
    assert_eq!([&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]], [10, 9, 19]);
    assert_eq!([&usage["layers_per_token"], &usage["layers"]], [&json!(12.0), &json!(12)]);
    assert_eq!(server.complete("sort 52938174=", json!({}))["usage"]["layers_per_token"], 10.0, "the default");
    let answer = server.complete("sort 52938174=", json!({"controller": "router:router.safetensors", "user": "x"}));
    assert!(answer["usage"]["layers_per_token"].as_f64().unwrap() < 12.0, "the embedded router");

    let limited = server.complete("sort 52938174=", json!({"controller": "full", "max_tokens": 3, "stop": null}));
    let choice = &limited["choices"][0];
    assert_eq!(
        [&choice["text"], &choice["finish_reason"], &choice["stop_reason"]],
        ["123", "length", "max-new-tokens"]
    );
    let stopped = server.complete("sort 52938174=", json!({"controller": "full", "stop": ["x", "45"]}));
    let choice = &stopped["choices"][0];
    assert_eq!([&choice["text"], &choice["finish_reason"], &choice["stop_reason"]], ["123", "stop", "string"]);

    let answer =
        server.complete("", json!({"prompt": [[2, 13, 10, 28], [3, 18, 19, 28]], "n": 2, "controller": "full"}));
    let texts: Vec<&str> = (0..4).map(|i| answer["choices"][i]["text"].as_str().unwrap()).collect();
    assert_eq!((texts[0], texts[2]), (texts[1], texts[3]), "greedy choices are equal: {texts:?}");
    assert_ne!(texts[0], texts[2], "each prompt has its own");
    assert_eq!(answer["usage"]["prompt_tokens"], 8);
}

#[test]
fn biases_and_penalties_change_the_text() {
    let server = Running::start(&[]);
    // Token 9 is the digit 1.
    let answer = server.complete("sort 52938174=", json!({"logit_bias": {"9": -100}, "max_tokens": 1}));
    assert_ne!(answer["choices"][0]["text"], "1");
    // Without the token that ends texts, digits repeat, unless that is penalised.
    let repeats = |more| {
        let text = server.complete("sort 11111111=", with(json!({"max_tokens": 20, "logit_bias": {"0": -100}}), more));
        let text = text["choices"][0]["text"].as_str().unwrap().to_owned();
        text.chars().filter(|digit| *digit == '1').count()
    };
    let free = repeats(json!({}));
    assert!(free >= 8);
    assert!(repeats(json!({"frequency_penalty": 2})) < free);
    assert!(repeats(json!({"presence_penalty": 2})) <= free);
}

#[test]
fn a_stream_has_the_text_of_the_whole_answer() {
    let server = Running::start(&["--max-tokens", "12"]);
    let body = json!({"prompt": "sort 52938174=", "temperature": 1.5, "seed": 7, "n": 3, "logprobs": 2});
    let (_, whole) = server.post("/v1/completions", &body);
    let events = server.events("/v1/completions", with(body, json!({"stream_options": {"include_usage": true}})));
    let (usage, parts) = events.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], whole["usage"]);
    for choice in 0..3 {
        let of = |event: &&Value| event["choices"][0]["index"] == choice;
        let parts: Vec<&Value> = parts.iter().filter(of).map(|event| &event["choices"][0]).collect();
        let text: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
        let whole = &whole["choices"][choice];
        assert_eq!(whole["text"], text.as_str());
        assert_eq!(whole["finish_reason"], parts.last().unwrap()["finish_reason"]);
        for list in ["tokens", "token_logprobs", "text_offset", "top_logprobs"] {
            let all = parts.iter().flat_map(|part| part["logprobs"][list].as_array().unwrap().clone());
            assert_eq!(whole["logprobs"][list], all.collect::<Value>(), "{list}");
        }
    }
    assert!(parts.iter().all(|event| event["usage"].is_null() && event["id"] == usage["id"]));
}

#[test]
fn a_chat_has_messages_and_log_probabilities() {
    let server = Running::start(&[]);
    let parts = json!([{"type": "text", "text": "sort "}, {"type": "text", "text": "52938174="}]);
    let messages = json!([{"role": "developer", "content": "Sort."}, {"role": "user", "content": parts}]);
    let body = json!({
        "model": "dynlayer-tiny", "messages": messages, "temperature": 0, "logprobs": true, "top_logprobs": 2,
        "max_completion_tokens": 20,
    });
    let (status, answer) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": "12345789", "refusal": null}));
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 8, "the token that ends the text has no text");
    assert_eq!(content[0]["token"], "1");
    assert_eq!(content[0]["bytes"], json!([49]));
    // Greedy choice takes the likeliest token.
    assert_eq!(content[0]["top_logprobs"][0]["logprob"], content[0]["logprob"]);
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 2);

    let events = server.events("/v1/chat/completions", body);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "12345789");
    let last = events.last().unwrap();
    assert_eq!((&last["object"], &last["choices"][0]["delta"]), (&json!("chat.completion.chunk"), &json!({})));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_completion_begins_with_what_the_tokenizer_adds() {
    let folder = longer(64);
    let file = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}},
    });
    fs::write(file, tokenizer.to_string()).unwrap();
    let path = folder.path().to_str().unwrap();
    let tokens = |server: &Running, more| {
        let answer = server.complete("sort 52938174=", with(json!({"max_tokens": 1}), more));
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let server = Running::start(&["--model", path]);
    assert_eq!(tokens(&server, json!({})), 11);
    assert_eq!(tokens(&server, json!({"add_special_tokens": false})), 10);
    let server = Running::start(&["--model", path, "--no-bos"]);
    assert_eq!(tokens(&server, json!({})), 10);
    assert_eq!(tokens(&server, json!({"add_special_tokens": true})), 11);
}

#[test]
fn equal_seeds_give_equal_texts() {
    let server = Running::start(&[]);
    let text = |more| {
        let body = with(json!({"temperature": 2, "logit_bias": {"0": -100}, "max_tokens": 40, "n": 2}), more);
        let answer = server.complete("sort 52938174=", body);
        let text = |i: usize| answer["choices"][i]["text"].as_str().unwrap().to_owned();
        (text(0), text(1))
    };
    let first = text(json!({"seed": -3, "controller": "random:8"}));
    assert_eq!(first, text(json!({"seed": -3, "controller": "random:8"})));
    assert_ne!(first.0, first.1, "choices differ");
    assert_ne!(first, text(json!({"seed": 4, "controller": "random:8"})));
    assert_ne!(text(json!({})), text(json!({})), "without a seed");
}

#[test]
fn with_speculation_every_text_is_the_full_models() {
    let (plain, speculative) = (Running::start(&[]), Running::start(&["--speculate", "2"]));
    for (controller, temperature) in [("exit:2", 0.0), ("uniform:6", 0.0), ("confidence:0.9", 1.0)] {
        let more =
            |controller| json!({"controller": controller, "temperature": temperature, "seed": 3, "max_tokens": 9});
        let text = |answer: &Value| answer["choices"][0]["text"].as_str().unwrap().to_owned();
        let expected = plain.complete("sort 52938174=", more("full"));
        let found = speculative.complete("sort 52938174=", more(controller));
        assert_eq!(text(&found), text(&expected), "{controller}");
        assert_eq!(found["usage"]["completion_tokens"], expected["usage"]["completion_tokens"]);
        let streamed =
            speculative.events("/v1/completions", with(json!({"prompt": "sort 52938174="}), more(controller)));
        let parts = streamed.iter().filter_map(|event| event["choices"][0]["text"].as_str());
        assert_eq!(parts.collect::<String>(), text(&expected));
    }
}

#[test]
fn a_wrong_request_is_an_error_that_names_the_field() {
    let server = Running::start(&["--max-cached-tokens", "60", "--max-tokens", "20", "--queue", "8"]);
    let prompt = json!({"prompt": "sort 52938174="});
    let of = |more| with(prompt.clone(), more);
    let message = |content| json!({"messages": [content]});
    let (text, chat) = ("/v1/completions", "/v1/chat/completions");
    for (path, body, status, param, expected) in [
        (text, json!([1]), 400, None, "expected an object"),
        (text, json!({}), 400, Some("prompt"), "is missing"),
        (text, json!({"prompt": 3}), 400, Some("prompt"), "is 3; expected a text"),
        (text, json!({"prompt": ""}), 400, Some("prompt"), "is empty"),
        (text, json!({"prompt": [1, 31]}), 400, Some("prompt"), "token 31"),
        (text, json!({"prompt": [[1], -2]}), 400, Some("prompt"), "list"),
        (text, json!({"prompt": vec![2; 65]}), 400, Some("prompt"), "65 tokens"),
        (text, of(json!({"max_tokens": 0})), 400, Some("max_tokens"), "at least 1"),
        (text, of(json!({"max_tokens": 200})), 400, Some("max_tokens"), "at most 60"),
        (text, of(json!({"max_tokens": 1, "max_completion_tokens": 1})), 400, Some("max_tokens"), "one of them"),
        (text, of(json!({"n": 9})), 400, Some("n"), "from 1 to 8"),
        (text, json!({"prompt": ["a", "b", "c"], "n": 3}), 400, Some("n"), "8 in all"),
        (text, of(json!({"temperature": "hot"})), 400, Some("temperature"), "\"hot\"; expected a number from 0 to 2"),
        (text, of(json!({"top_p": 0})), 400, Some("top_p"), "above 0"),
        (text, of(json!({"presence_penalty": 3})), 400, Some("presence_penalty"), "from -2 to 2"),
        (text, of(json!({"logit_bias": {"31": 1}})), 400, Some("logit_bias"), "below 31"),
        (text, of(json!({"logprobs": 6})), 400, Some("logprobs"), "from 0 to 5"),
        (text, of(json!({"stop": [""]})), 400, Some("stop"), "none of them empty"),
        (text, of(json!({"stop": "a<|end|>"})), 400, Some("stop"), "the special token \"<|end|>\""),
        (text, of(json!({"repetition_penalty": 1e-40})), 400, Some("repetition_penalty"), "infinite"),
        (text, of(json!({"seed": 0.5})), 400, Some("seed"), "integer"),
        (text, of(json!({"add_special_tokens": 1})), 400, Some("add_special_tokens"), "true or false"),
        (text, of(json!({"stream": 1})), 400, Some("stream"), "true or false"),
        (text, of(json!({"stream_options": {}})), 400, Some("stream_options"), "with `stream`"),
        (text, of(json!({"stream": true, "stream_options": {"x": 1}})), 400, Some("stream_options.x"), "not supported"),
        (text, of(json!({"timeout": 1e9})), 400, Some("timeout"), "up to 120"),
        (text, of(json!({"echo": true})), 400, Some("echo"), "supports false only"),
        (text, of(json!({"tools": []})), 400, Some("tools"), "not supported"),
        (text, of(json!({"model": "gpt"})), 404, None, "this server has \"dynlayer-tiny\""),
        (text, of(json!({"controller": "fast"})), 400, Some("controller"), "unknown controller \"fast\""),
        (text, of(json!({"controller": "uniform:31"})), 400, Some("controller"), "budget of 31"),
        (text, of(json!({"controller": "replay:/etc/passwd"})), 400, Some("controller"), "files are refused"),
        (
            text,
            of(json!({"controller": "budgeted:6:router:/etc/passwd"})),
            400,
            Some("controller"),
            "files are refused",
        ),
        (text, of(json!({"controller": "influence:6"})), 400, Some("controller"), "--prepare influence:6"),
        (chat, json!({"messages": []}), 400, Some("messages"), "at least one"),
        (chat, json!({"messages": ["hello"]}), 400, Some("messages[0]"), "an object"),
        (chat, message(json!({"content": "x"})), 400, Some("messages[0].role"), "missing"),
        (chat, message(json!({"role": "tool", "content": "x"})), 400, Some("messages[0].role"), "\"tool\""),
        (
            chat,
            message(json!({"role": "user", "content": [{"type": "image_url"}]})),
            400,
            Some("messages[0].content"),
            "",
        ),
        (chat, message(json!({"role": "user", "content": "x", "name": "y"})), 400, Some("messages[0].name"), ""),
        (
            chat,
            with(message(json!({"role": "user", "content": "x"})), json!({"top_logprobs": 1})),
            400,
            Some("top_logprobs"),
            "without `logprobs`",
        ),
    ] {
        let (found, answer) = server.post(path, &body);
        let error = &answer["error"];
        assert_eq!((found, error["param"].as_str()), (status, param), "{body}: {answer}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{body}: {message}");
        assert!(error["type"] == "invalid_request_error" && error["code"].is_string(), "{answer}");
        assert!(message.len() < 1500, "{message}");
    }
    let large = "x".repeat(5 << 20);
    for (method, path, body, status) in [
        ("POST", "/v1/completions", "{\"prompt\": ", 400),
        ("POST", "/v1/completions", "\u{0}", 400),
        ("POST", "/v1/embeddings", "{}", 404),
        ("GET", "/v1/models/gpt", "", 404),
        ("GET", "/v1/completions", "", 405),
        ("DELETE", "/v1/models", "", 405),
        ("POST", "/v1/completions", &large, 413),
    ] {
        let (found, _, answer) = server.request(method, path, body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    assert_eq!(server.metric("dynlayer_rows"), 0.0);
    assert_eq!(server.metric("dynlayer_queue_length"), 0.0);
    assert_eq!(server.complete("sort 52938174=", json!({"max_tokens": 20}))["choices"][0]["text"], "12345789");
}

#[test]
fn controllers_of_the_command_line_are_prepared() {
    let server = Running::start(&["--prepare", "influence:8", "--prepare", "similarity:0.1"]);
    for controller in ["influence:8", "influence:9", "similarity:0.2"] {
        server.complete("sort 52938174=", json!({"controller": controller, "max_tokens": 20}));
    }
    let (status, answer) =
        server.post("/v1/completions", &json!({"prompt": "sort", "controller": "similarity:0.1,clusters=9"}));
    assert_eq!(status, 400, "another measurement: {answer}");
    let arguments = Arguments::parse_from(["serve", "--controller", "uniform:31"]);
    let error = Service::open(&arguments).err().unwrap();
    assert!(error.to_string().contains("budget of 31"), "{error}");
}

#[test]
fn models_and_health_are_told() {
    let server = Running::start(&["--name", "tiny"]);
    let get = |path| {
        let (status, _, body) = server.request("GET", path, "");
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (_, models) = get("/v1/models");
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("tiny")));
    assert_eq!(get("/v1/models/tiny"), (200, models["data"][0].clone()));
    assert_eq!(get("/health"), (200, json!({"status": "ok"})));
    server.complete("sort 52938174=", json!({}));
    // The work of a pass is counted after its tokens were sent.
    server.wait_for("dynlayer_layers_total{phase=\"decode\"}", 96.0);
    let (_, _, metrics) = server.request("GET", "/metrics", "");
    for line in [
        "dynlayer_requests_total{path=\"/v1/completions\",status=\"200\"} 1",
        "dynlayer_sequences_total{reason=\"token\"} 1",
        "dynlayer_prompt_tokens_total 10",
        "dynlayer_generated_tokens_total 9",
        "dynlayer_tokens_total{phase=\"prefill\"} 10",
        "dynlayer_layers_total{phase=\"decode\"} 96",
        "dynlayer_first_token_seconds_count 1",
        "dynlayer_cache_bytes 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
    }
}

#[test]
fn a_full_queue_and_clients_that_go_away() {
    let folder = longer(8192);
    let server = slow(&folder, &["--max-rows", "1", "--queue", "2"]);
    let first = server.send("POST", "/v1/completions", &with(endless(), json!({"stream": true})).to_string());
    server.wait_for("dynlayer_rows", 1.0);
    let second = server.send("POST", "/v1/completions", &endless().to_string());
    let third = server.send("POST", "/v1/completions", &endless().to_string());
    server.wait_for("dynlayer_queue_length", 2.0);
    let (status, headers, body) = server.request("POST", "/v1/completions", &endless().to_string());
    assert_eq!(status, 429);
    assert!(headers.contains("retry-after: 1"), "{headers}");
    assert!(body.contains("rate_limit_error") && body.contains("2 sequences are waiting"), "{body}");
    // One that waits goes away, then the one that runs; the last one takes its row.
    drop(second);
    server.wait_for("dynlayer_queue_length", 1.0);
    drop(first);
    server.wait_for("dynlayer_queue_length", 0.0);
    server.wait_for("dynlayer_rows", 1.0);
    drop(third);
    server.wait_for("dynlayer_rows", 0.0);
    server.wait_for("dynlayer_cache_bytes", 0.0);
    server.wait_for("dynlayer_requests_total{path=\"/v1/completions\",status=\"499\"}", 3.0);
    assert_eq!(server.metric("dynlayer_sequences_total{reason=\"cancelled\"}"), 3.0);
    assert_eq!(server.complete("sort 52938174=", json!({}))["choices"][0]["text"], "12345789");
}

#[test]
fn a_deadline_ends_a_text_or_a_wait() {
    let folder = longer(8192);
    let server = slow(&folder, &["--max-rows", "1", "--timeout", "30"]);
    let started = Instant::now();
    thread::scope(|scope| {
        let running = scope.spawn(|| server.post("/v1/completions", &with(endless(), json!({"timeout": 1.5}))));
        server.wait_for("dynlayer_rows", 1.0);
        let (status, answer) = server.post("/v1/completions", &with(endless(), json!({"timeout": 0.2})));
        assert_eq!((status, answer["error"]["code"].as_str()), (504, Some("deadline")), "{answer}");
        let (status, answer) = running.join().unwrap();
        let choice = &answer["choices"][0];
        assert_eq!(status, 200, "{answer}");
        assert_eq!([&choice["finish_reason"], &choice["stop_reason"]], ["length", "deadline"]);
        assert!(choice["text"].as_str().unwrap().starts_with("12345789"));
    });
    let seconds = started.elapsed().as_secs_f64();
    assert!((1.5..5.0).contains(&seconds), "{seconds} s");
}

#[test]
fn stopping_waits_for_requests() {
    let folder = longer(8192);
    let mut server = slow(&folder, &["--timeout", "2"]);
    let mut stream = server.send("POST", "/v1/completions", &endless().to_string());
    server.wait_for("dynlayer_rows", 1.0);
    let started = Instant::now();
    drop(server.stop.take());
    server.thread.take().unwrap().join().unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("deadline"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(10));
    server.thread = Some(thread::spawn(|| {}));
}

#[test]
fn concurrent_requests_get_the_texts_that_they_get_alone() {
    let folder = longer(512);
    let server =
        slow(&folder, &["--max-rows", "6", "--chunk", "16", "--max-tokens", "40", "--max-cached-tokens", "1200"]);
    let controllers = [
        "full",
        "uniform:8",
        "exit:5",
        "random:7",
        "bernoulli:0.7",
        "confidence:0.6",
        "warmup:3:exit:4",
        "budgeted:7:confidence:0.5",
        "schedule:12..4,to=60",
    ];
    let tasks = ["sort 52938174=", "copy DBACJFIA=", "reverse DBACJFIA=", "count ABBCABCC=", "add 357+468="];
    let request = |i: usize| {
        let prompt = tasks[i % tasks.len()].repeat(1 + i % 4);
        let body = json!({
            "prompt": prompt, "seed": i, "temperature": ([0.0, 0.7, 1.3][i % 3]), "max_tokens": (5 + i * 7 % 60),
            "n": 1 + i % 2, "controller": controllers[i % controllers.len()], "logprobs": i % 3,
        });
        match i % 4 {
            0 => with(body, json!({"logit_bias": {"0": -100}})),
            1 => with(body, json!({"frequency_penalty": 0.5, "top_p": 0.9})),
            _ => body,
        }
    };
    let answer = |i| {
        let (status, answer) = server.post("/v1/completions", &request(i));
        assert_eq!(status, 200, "{answer}");
        (answer["choices"].clone(), answer["usage"].clone())
    };
    let server = &server;
    let together: Vec<(Value, Value)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                scope.spawn(move || {
                    let leave = || drop(server.send("POST", "/v1/completions", &endless().to_string()));
                    (0..6)
                        .map(|at| {
                            leave();
                            answer(client * 6 + at)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    for (i, together) in together.iter().enumerate() {
        assert_eq!(*together, answer(i), "{}", request(i));
    }
    server.wait_for("dynlayer_rows", 0.0);
    server.wait_for("dynlayer_cache_bytes", 0.0);
    assert_eq!(server.metric("dynlayer_claimed_tokens"), 0.0);
}

/// A worker without a server, with two rows and chunks of four tokens.
fn worker() -> (Service, Worker) {
    Service::open(&Arguments::parse_from(["serve", "--max-rows", "2", "--chunk", "4"])).unwrap()
}

fn job(service: &Service, prompt: Vec<u32>, max_new_tokens: usize) -> UnboundedReceiver<Update> {
    let (updates, receiver) = unbounded_channel();
    let options = SequenceOptions { max_new_tokens, ..SequenceOptions::default() };
    let sequence = Sequence { prompt, options, controller: Box::new(FullDepth) };
    let place = service.places.clone().try_acquire_owned().unwrap();
    let job = Job { sequence, choice: 0, updates, arrived: Instant::now(), place };
    assert!(service.jobs.send(job).is_ok());
    receiver
}

#[test]
fn a_client_that_goes_away_frees_its_row_before_the_next_pass() {
    let (service, mut worker) = worker();
    let prefilling = job(&service, vec![2; 40], 8);
    worker.turn();
    assert_eq!(service.metrics.rows(), 1);
    let decoding = job(&service, vec![2, 13, 28], 50);
    for _ in 0..4 {
        worker.turn();
    }
    assert_eq!(service.metrics.rows(), 2);
    drop(prefilling); // after three of its ten chunks
    worker.turn();
    assert_eq!(service.metrics.rows(), 1);
    drop(decoding);
    let mut last = job(&service, vec![2, 13, 28], 1);
    worker.turn();
    assert_eq!(service.metrics.rows(), 0, "two left, and the last one has ended");
    assert!(matches!(last.try_recv(), Ok(Update { news: News::Joined, .. })));
    assert!(matches!(last.try_recv(), Ok(Update { news: News::Token(_), .. })));
    assert!(matches!(last.try_recv(), Ok(Update { news: News::Ended { tokens: 1, .. }, .. })));
    assert!(service.metrics.text(0).contains("dynlayer_cache_bytes 0\n"));
}
