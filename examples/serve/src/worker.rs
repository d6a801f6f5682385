//! The thread that owns the session: sequences join from the queue, are stepped together, and leave.

use crate::error::ApiError;
use crate::metrics::{Gauges, Metrics, work};
use dynlayer::inference::controllers::PerSequence;
use dynlayer::inference::{
    Controller, GenerateError, SequenceOptions, Session, SessionOptions, Stop, Taken, TokenEvent,
};
use dynlayer::model::Llama;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// A sequence to generate: one choice of a request.
pub struct Sequence {
    pub prompt: Vec<u32>,
    pub options: SequenceOptions,
    pub controller: Box<dyn Controller + Send>,
}

/// A sequence in the queue.
pub struct Job {
    pub sequence: Sequence,
    /// The index among the choices of its request.
    pub choice: usize,
    /// The way back to the client. It closes when the client goes away, and the sequence is cancelled then.
    ///
    /// It has no bound, as a sequence has one: a client that reads slowly holds up no other.
    pub updates: UnboundedSender<Update>,
    /// The time at which the request came.
    pub arrived: Instant,
    /// A place in the queue, which is given back when the sequence joins.
    pub place: OwnedSemaphorePermit,
}

/// News of one choice of a request.
#[derive(Debug)]
pub struct Update {
    pub choice: usize,
    pub news: News,
}

/// The progress of a sequence.
#[derive(Debug)]
pub enum News {
    /// It has left the queue; its prompt runs next.
    Joined,
    /// A token was generated.
    Token(TokenEvent),
    /// It has ended.
    Ended {
        /// The text that no token event had: a deadline releases what was held back as the beginning of a stop string.
        text: String,
        stop: Option<Stop>,
        /// The number of generated tokens, a stop token included.
        tokens: u64,
        /// The number of decode passes.
        passes: u64,
        /// The layers that the controller asked for, summed over these passes.
        layers: f64,
    },
    /// It cannot begin or go on.
    Failed(ApiError),
}

/// A sequence in the session.
struct Row {
    choice: usize,
    updates: UnboundedSender<Update>,
    arrived: Instant,
    /// The length of the text that was sent, in bytes.
    sent: usize,
    /// `true` once a token was generated.
    begun: bool,
}

type Controllers = PerSequence<Box<dyn Controller + Send>>;

/// The owner of the session.
pub struct Worker {
    model: Arc<Llama>,
    options: SessionOptions<'static>,
    session: Session<'static, Controllers>,
    jobs: UnboundedReceiver<Job>,
    /// Jobs that wait for a row, in the order in which they came.
    waiting: VecDeque<Job>,
    max_rows: usize,
    /// The session's sequences, by id.
    rows: BTreeMap<u64, Row>,
    next_id: u64,
    metrics: Arc<Metrics>,
}

impl Worker {
    /// Starts a session for the jobs to come.
    ///
    /// # Errors
    /// If the options allow no session.
    pub fn new(
        model: Arc<Llama>,
        options: SessionOptions<'static>,
        max_rows: usize,
        jobs: UnboundedReceiver<Job>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, GenerateError> {
        let session = Session::new(model.clone(), PerSequence::new(), options.clone())?;
        let (waiting, rows) = (VecDeque::new(), BTreeMap::new());
        Ok(Self { model, options, session, jobs, waiting, max_rows, rows, next_id: 0, metrics })
    }

    /// Works until no more jobs can come and all are done.
    pub fn run(mut self) {
        loop {
            // A panic costs the requests that run, and not the server.
            let result = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => self.restart(&ApiError::server("the model's thread panicked; its log has the message")),
            }
        }
    }

    /// Runs one step of the session, after sequences have left and joined. Waits while there is nothing to do. Returns
    /// `false` if there never will be.
    pub fn turn(&mut self) -> bool {
        if self.rows.is_empty() && self.waiting.is_empty() {
            match self.jobs.blocking_recv() {
                Some(job) => self.waiting.push_back(job),
                None => return false,
            }
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.waiting.push_back(job);
        }
        self.drop_gone();
        self.let_join();
        let before = work(self.session.report());
        self.step();
        let gauges = Gauges {
            rows: self.rows.len(),
            cache_bytes: self.session.cache_bytes(),
            claimed_tokens: self.session.claimed_tokens(),
        };
        self.metrics.turn(&before, &work(self.session.report()), gauges);
        true
    }

    /// Drops the sequences whose clients went away, and the waiting ones whose deadlines have passed.
    fn drop_gone(&mut self) {
        let now = Instant::now();
        self.waiting.retain(|job| {
            let late = job.sequence.options.deadline.is_some_and(|deadline| now >= deadline);
            if late {
                send(&job.updates, job.choice, News::Failed(ApiError::late()));
            }
            if late || job.updates.is_closed() {
                self.metrics.ended(if late { "late" } else { "cancelled" });
                return false;
            }
            true
        });
        let gone: Vec<u64> = self.rows.iter().filter(|(_, row)| row.updates.is_closed()).map(|(id, _)| *id).collect();
        for id in gone {
            self.rows.remove(&id);
            self.session.cancel(id);
            self.metrics.ended("cancelled");
        }
    }

    /// Gives free rows to the first jobs in the queue.
    fn let_join(&mut self) {
        while self.rows.len() < self.max_rows {
            let Some(Job { sequence, choice, updates, arrived, place }) = self.waiting.pop_front() else { break };
            let Sequence { prompt, options, controller } = sequence;
            let id = self.next_id;
            self.next_id += 1;
            self.session.controller_mut().insert(id, controller);
            let error = match self.session.push(id, &prompt, options.clone()) {
                Ok(()) => {
                    self.metrics.joined(prompt.len());
                    send(&updates, choice, News::Joined);
                    self.rows.insert(id, Row { choice, updates, arrived, sent: 0, begun: false });
                    continue;
                }
                Err(error) => error,
            };
            let controller = self.session.controller_mut().remove(id);
            match (error, controller) {
                // There is room once others have left. Those behind wait too, so that a long request gets its turn.
                (GenerateError::CacheFull { needed, limit, .. }, Some(controller)) if needed <= limit => {
                    let sequence = Sequence { prompt, options, controller };
                    self.waiting.push_front(Job { sequence, choice, updates, arrived, place });
                    break;
                }
                (error, _) => {
                    self.metrics.ended("failed");
                    send(&updates, choice, News::Failed((&error).into()));
                }
            }
        }
    }

    /// Steps the session, and sends on what came out of it.
    fn step(&mut self) {
        match self.session.step() {
            Ok(events) => {
                for event in events {
                    let Some(row) = self.rows.get_mut(&event.sequence) else { continue };
                    self.metrics.token((!row.begun).then(|| row.arrived.elapsed()));
                    row.begun = true;
                    row.sent += event.text.len();
                    send(&row.updates, row.choice, News::Token(event));
                }
            }
            Err(error) => match error.sequence().and_then(|id| self.rows.remove_entry(&id)) {
                Some((id, row)) => {
                    self.session.cancel(id);
                    self.metrics.ended("failed");
                    send(&row.updates, row.choice, News::Failed((&error).into()));
                }
                None => self.restart(&ApiError::from(&error)),
            },
        }
        for Taken { completion, report, .. } in self.session.take_finished() {
            let Some(row) = self.rows.remove(&report.id) else { continue };
            let text = completion.text.get(row.sent..).unwrap_or_default().to_owned();
            if let Some(stop) = &completion.stop {
                self.metrics.ended(stop);
            }
            let (tokens, decode) = (report.generated_tokens, report.decode);
            let (passes, layers) = (decode.tokens, decode.nominal.layers());
            send(&row.updates, row.choice, News::Ended { text, stop: completion.stop, tokens, passes, layers });
        }
    }

    /// Fails all sequences of the session, and starts a new one.
    fn restart(&mut self, error: &ApiError) {
        for row in std::mem::take(&mut self.rows).into_values() {
            self.metrics.ended("failed");
            send(&row.updates, row.choice, News::Failed(error.clone()));
        }
        eprintln!("error: {}; a new session begins", error.message);
        match Session::new(self.model.clone(), PerSequence::new(), self.options.clone()) {
            Ok(session) => self.session = session,
            // Closing the queue ends the worker, and /health tells.
            Err(error) => {
                eprintln!("error: no new session: {error}");
                self.jobs.close();
            }
        }
    }
}

/// Sends news to a client. One that has gone away is noticed before the next step.
fn send(updates: &UnboundedSender<Update>, choice: usize, news: News) {
    let _ = updates.send(Update { choice, news });
}
