//! A conversation at the terminal. Every turn continues from the cached keys and values of the turns before.

use super::arguments::Arguments;
use dynlayer::inference::report::Route;
use dynlayer::inference::{Controller, SequenceOptions, Session, SessionOptions, Stop};
use dynlayer::model::text::{ChatMessage, ChatTemplate};
use dynlayer_examples::Loaded;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

/// The id of the conversation's sequence.
const CONVERSATION: u64 = 0;

/// Answers line after line of the standard input, until it ends.
pub fn converse<C: Controller>(
    arguments: &Arguments,
    loaded: &Loaded,
    controller: C,
    session: SessionOptions<'_>,
    sequence: &SequenceOptions,
) -> Result<(), Box<dyn Error>> {
    let template = loaded.tokenizer.chat_template()?.ok_or("the checkpoint has no chat template; use --prompt")?;
    let mut session = Session::new(&loaded.model, controller, session)?;
    let mut messages: Vec<ChatMessage> = Vec::new();
    eprintln!("controller {}; /new starts a new conversation, an end of file (Ctrl-D) ends", arguments.controller);
    for line in prompted_lines() {
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
        match turn(&mut session, loaded, &template, &messages, sequence) {
            Ok(answer) => messages.push(ChatMessage::assistant(answer)),
            // The conversation goes on without this turn.
            Err(error) => {
                eprintln!("error: {error}; /new starts a new conversation");
                messages.pop();
            }
        }
    }
    eprint!("{}", session.report());
    Ok(())
}

/// Generates and prints the answer to the last message.
fn turn<C: Controller>(
    session: &mut Session<'_, C>,
    loaded: &Loaded,
    template: &ChatTemplate,
    messages: &[ChatMessage],
    options: &SequenceOptions,
) -> Result<String, Box<dyn Error>> {
    let started = Instant::now();
    let tokens = loaded.tokenizer.encode(&template.render(messages, true)?, false)?;
    let kept = if session.completion(CONVERSATION).is_some() {
        session.resume(CONVERSATION, &tokens)?
    } else {
        session.push(CONVERSATION, &tokens, options.clone())?;
        0
    };
    let mut out = std::io::stdout();
    let mut first = None;
    while !session.is_idle() {
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
    eprint!("[{kept} of {} tokens from the cache, first token after {seconds:.2} s", tokens.len());
    eprintln!(", {n} tokens of {:.1} layers]", sum / n.max(1) as f64);
    if let Some(stop @ (Stop::MaxNewTokens | Stop::ContextFull)) = &completion.stop {
        eprintln!("[stopped: {stop}]");
    }
    Ok(completion.text.clone())
}

/// The lines of the standard input, each after a prompt on standard error.
fn prompted_lines() -> impl Iterator<Item = std::io::Result<String>> {
    let mut lines = std::io::stdin().lock().lines();
    std::iter::from_fn(move || {
        eprint!("> ");
        let line = lines.next();
        if line.is_none() {
            eprintln!();
        }
        line
    })
}
