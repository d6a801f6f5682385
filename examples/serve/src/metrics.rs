//! Counters of the server, and their text form for Prometheus.

use dynlayer::inference::report::{PhaseReport, RunReport};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// The phases of the work, as labels.
const PHASES: [&str; 2] = ["prefill", "decode"];
/// The names and the meanings of the numbers in [`Work`].
const WORK: [(&str, &str); 5] = [
    ("dynlayer_passes_total", "Passes."),
    ("dynlayer_tokens_total", "Tokens that passes read; with speculation, decode tokens that came out."),
    ("dynlayer_layers_total", "Layers that the controllers asked for, summed over tokens."),
    ("dynlayer_layers_executed_total", "Layers that ran, summed over tokens."),
    ("dynlayer_seconds_total", "Wall time of the passes, in seconds."),
];

/// The work of each phase of a session so far, in the order of [`WORK`].
pub type Work = [[f64; 5]; 2];

/// The state of the session after a turn of the worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub rows: usize,
    pub cache_bytes: u64,
    pub claimed_tokens: usize,
}

/// The server's counters. The HTTP side and the worker add to them.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    requests: BTreeMap<(&'static str, u16), u64>,
    sequences: BTreeMap<String, u64>,
    prompt_tokens: u64,
    generated_tokens: u64,
    work: Work,
    gauges: Gauges,
    /// The number of first tokens in each bucket, and after the last bound.
    first_tokens: [u64; BUCKETS.len() + 1],
    first_token_seconds: f64,
}

impl Metrics {
    /// Counts a request by its path and the status of its answer.
    pub fn request(&self, path: &'static str, status: u16) {
        *self.lock().requests.entry((path, status)).or_default() += 1;
    }

    /// Counts the tokens of a prompt whose sequence has joined.
    pub fn joined(&self, prompt_tokens: usize) {
        self.lock().prompt_tokens += prompt_tokens as u64;
    }

    /// Counts a generated token; a sequence's first one with the time since the request came.
    pub fn token(&self, first: Option<Duration>) {
        let mut numbers = self.lock();
        numbers.generated_tokens += 1;
        if let Some(time) = first {
            let seconds = time.as_secs_f64();
            let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
            numbers.first_tokens[bucket] += 1;
            numbers.first_token_seconds += seconds;
        }
    }

    /// Counts a sequence by the reason why it ended.
    pub fn ended(&self, reason: impl Display) {
        *self.lock().sequences.entry(reason.to_string()).or_default() += 1;
    }

    /// Adds the work of a turn: the difference of the session's work before and after it.
    pub fn turn(&self, before: &Work, after: &Work, gauges: Gauges) {
        let mut numbers = self.lock();
        numbers.gauges = gauges;
        for (phase, (before, after)) in before.iter().zip(after).enumerate() {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                numbers.work[phase][at] += after - before;
            }
        }
    }

    /// The number of live rows after the latest turn.
    #[cfg(test)]
    pub fn rows(&self) -> usize {
        self.lock().gauges.rows
    }

    /// The text form, with the number of sequences that wait in the queue.
    pub fn text(&self, waiting: usize) -> String {
        let numbers = self.lock();
        let mut out = Text(String::new());
        out.family("dynlayer_requests_total", "counter", "Requests by path and status; 499: the client went away.");
        for ((path, status), count) in &numbers.requests {
            out.sample("dynlayer_requests_total", &format!("path=\"{path}\",status=\"{status}\""), count);
        }
        out.family("dynlayer_sequences_total", "counter", "Sequences by the reason why they ended.");
        for (reason, count) in &numbers.sequences {
            out.sample("dynlayer_sequences_total", &format!("reason=\"{reason}\""), count);
        }
        for (at, (name, about)) in WORK.iter().enumerate() {
            out.family(name, "counter", about);
            for (phase, work) in PHASES.iter().zip(&numbers.work) {
                out.sample(name, &format!("phase=\"{phase}\""), work[at]);
            }
        }
        let Gauges { rows, cache_bytes, claimed_tokens } = numbers.gauges;
        out.single("dynlayer_prompt_tokens_total", "counter", "Tokens of prompts.", numbers.prompt_tokens);
        out.single("dynlayer_generated_tokens_total", "counter", "Generated tokens.", numbers.generated_tokens);
        out.single("dynlayer_rows", "gauge", "Sequences that are running.", rows);
        out.single("dynlayer_queue_length", "gauge", "Sequences that wait for a row.", waiting);
        out.single("dynlayer_cache_bytes", "gauge", "Memory of cached keys and values.", cache_bytes);
        let about = "Tokens that the running sequences may come to hold in the cache.";
        out.single("dynlayer_claimed_tokens", "gauge", about, claimed_tokens);
        out.histogram(&numbers);
        out.0
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // A panic between two additions loses one of them at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of a session so far.
pub fn work(report: &RunReport) -> Work {
    let phase = |phase: &PhaseReport| {
        let spent = &phase.spent;
        let (nominal, executed) = (spent.nominal.layers(), spent.executed.layers());
        [phase.passes as f64, spent.tokens as f64, nominal, executed, phase.seconds]
    };
    [phase(&report.prefill), phase(&report.decode)]
}

/// The text form as it grows.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    fn single(&mut self, name: &str, kind: &str, about: &str, value: impl Display) {
        self.family(name, kind, about);
        self.sample(name, "", value);
    }

    fn histogram(&mut self, numbers: &Numbers) {
        let name = "dynlayer_first_token_seconds";
        self.family(name, "histogram", "Time from a request to the first token of each of its sequences.");
        let mut total = 0;
        let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(numbers.first_tokens) {
            total += count;
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), total);
        }
        self.sample(&format!("{name}_sum"), "", numbers.first_token_seconds);
        self.sample(&format!("{name}_count"), "", total);
    }
}
