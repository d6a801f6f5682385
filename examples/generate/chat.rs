//! A conversation at the terminal. Every turn continues from the cached keys and values of the turns before.

use super::arguments::Arguments;
use dynlayer::inference::report::Route;
use dynlayer::inference::{Controller, SequenceOptions, Session, SessionOptions, Stop};
use dynlayer::model::Llama;
use dynlayer::model::text::{ChatMessage, ChatTemplate, Tokenizer};
use dynlayer_examples::interrupt::{self, Interrupted};
use dynlayer_examples::output::tell;
use std::error::Error;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The id of the conversation's sequence.
const CONVERSATION: u64 = 0;

/// The time between two looks at whether Ctrl-C was pressed, while the user types.
const LOOK: Duration = Duration::from_millis(50);

/// Answers line after line of the standard input, until it ends.
pub fn converse<C: Controller>(
    arguments: &Arguments,
    (model, tokenizer): (&Llama, &Tokenizer),
    controller: C,
    session: SessionOptions<'_>,
    sequence: &SequenceOptions,
) -> Result<(), Box<dyn Error>> {
    let template = tokenizer.chat_template()?.ok_or("the checkpoint has no chat template; use --prompt")?;
    let mut session = Session::new(model, controller, session)?;
    let mut messages: Vec<ChatMessage> = Vec::new();
    let controller = &arguments.controller;
    tell(format_args!("controller {controller}; /new starts a new conversation, an end of file (Ctrl-D) ends\n"));
    interrupt::watch()?;
    let lines = lines();
    while let Some(line) = prompted(&lines) {
        let line = line?;
        match line.trim() {
            "" => continue,
            "/new" => {
                session.cancel(CONVERSATION);
                messages.clear();
                continue;
            }
            message => messages.push(ChatMessage::user(message)),
        }
        match turn(&mut session, tokenizer, &template, &messages, sequence) {
            Ok(answer) => messages.push(ChatMessage::assistant(answer)),
            // Standard output cannot be written.
            Err(error) if error.is::<io::Error>() => return Err(error),
            // The conversation goes on without this turn.
            Err(error) => {
                tell(format_args!("error: {error}; /new starts a new conversation\n"));
                messages.pop();
            }
        }
    }
    tell(session.report());
    if interrupt::requested() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Generates and prints the answer to the last message; after Ctrl-C, as much of it as there is.
fn turn<C: Controller>(
    session: &mut Session<'_, C>,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    messages: &[ChatMessage],
    options: &SequenceOptions,
) -> Result<String, Box<dyn Error>> {
    let started = Instant::now();
    let tokens = tokenizer.encode(&template.render(messages, true)?, false)?;
    let kept = if session.completion(CONVERSATION).is_some() {
        session.resume(CONVERSATION, &tokens)?
    } else {
        session.push(CONVERSATION, &tokens, options.clone())?;
        0
    };
    let mut out = io::stdout();
    let mut first = None;
    while !session.is_idle() && !interrupt::requested() {
        for event in session.step()? {
            first.get_or_insert_with(|| started.elapsed());
            write!(out, "{}", event.text)?;
            out.flush()?;
        }
    }
    writeln!(out)?;
    let completion = session.completion(CONVERSATION).ok_or("the conversation is gone")?;
    let depths: Vec<f64> = completion.routes.iter().map(Route::depth).collect();
    let (n, sum): (usize, f64) = (depths.len(), depths.iter().sum());
    let seconds = first.unwrap_or_default().as_secs_f64();
    tell(format_args!(
        "[{kept} of {} tokens from the cache, first token after {seconds:.2} s, {n} tokens of {:.1} layers]\n",
        tokens.len(),
        sum / n.max(1) as f64
    ));
    match &completion.stop {
        Some(stop @ (Stop::MaxNewTokens | Stop::ContextFull)) => tell(format_args!("[stopped: {stop}]\n")),
        None if interrupt::requested() => tell("[stopped: interrupted]\n"),
        _ => {}
    }
    Ok(completion.text.clone())
}

/// Reads the lines of standard input in a thread of its own, so that Ctrl-C is noticed while nothing is typed.
fn lines() -> Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::sync_channel(0);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The next line, after a prompt on standard error; `None` at the end of the input or after Ctrl-C.
fn prompted(lines: &Receiver<io::Result<String>>) -> Option<io::Result<String>> {
    if !interrupt::requested() {
        tell("> ");
    }
    while !interrupt::requested() {
        match lines.recv_timeout(LOOK) {
            Ok(line) => return Some(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    tell("\n");
    None
}
