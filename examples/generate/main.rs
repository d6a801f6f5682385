//! Generates text with a model while a controller decides which layers run.
//!
//! ```text
//! cargo run --example generate -- --model DIR|FILE.gguf --chat "What is the capital of France?" \
//!     --controller uniform:20 --dtype f16
//! ```

mod answer;
mod arguments;
mod chat;
mod inspect;
mod output;

use answer::Answer;
use arguments::{Arguments, Source};
use dynlayer::inference::controllers::{Recorded, Resources};
use dynlayer::inference::{
    Controller, GenerateError, GenerateOptions, RunSettings, SequenceOptions, SessionOptions, generate,
};
use dynlayer::model::text::{ChatMessage, Tokenizer};
use dynlayer_examples::interrupt::{self, Interrupted};
use dynlayer_examples::output::{check, warn};
use dynlayer_examples::{Loaded, read_text};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    dynlayer_examples::main_of(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.sampling.validate()?;
    for file in arguments.record.iter().chain(&arguments.depth_map) {
        check(file)?;
    }
    for (option, reason) in arguments.without_effect() {
        warn(format_args!("{option} has no effect {reason}"));
    }
    let device = arguments.device.device()?;
    let started = Instant::now();
    let quiet = arguments.json || arguments.logits_top.is_some();
    let loaded = Loaded::open(arguments.model.as_deref(), arguments.dtype, &device, quiet)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let Some(prompt) = prompt(&arguments.source, &loaded.tokenizer)? else { return converse(arguments, &loaded) };

    if let Some(n) = arguments.logits_top {
        output::print(&inspect::inspect(&loaded.model, &prompt, n)?)?;
        return Ok(());
    }
    complete(arguments, &loaded, prompt, load_seconds)
}

fn settings(arguments: &Arguments) -> RunSettings {
    RunSettings {
        control_from: arguments.control_from,
        kv_policy: arguments.kv_policy,
        seed: arguments.seed,
        ..RunSettings::default()
    }
}

fn stop_tokens(arguments: &Arguments, loaded: &Loaded) -> Result<Vec<u32>, Box<dyn Error>> {
    if arguments.ignore_eos {
        return Ok(Vec::new());
    }
    Ok(loaded.checkpoint.stop_tokens(&loaded.tokenizer)?)
}

/// Makes the controller, calibrated if it needs to be.
fn controller(arguments: &Arguments, loaded: &Loaded) -> Result<Box<dyn Controller + Send>, Box<dyn Error>> {
    let (calibration, model) = (arguments.calibration.as_deref(), arguments.model.as_deref());
    let texts = dynlayer_examples::calibration::texts(calibration, model, &loaded.tokenizer, &loaded.model)?;
    Ok(arguments.controller.build(&loaded.model, &Resources::new().texts(texts).seed(arguments.seed))?)
}

fn converse(arguments: &Arguments, loaded: &Loaded) -> Result<(), Box<dyn Error>> {
    let single = [
        ("--json", arguments.json),
        ("--record", arguments.record.is_some()),
        ("--depth-map", arguments.depth_map.is_some()),
        ("--usage", arguments.usage),
        ("--logits-top", arguments.logits_top.is_some()),
    ];
    if let Some((option, _)) = single.iter().find(|(_, given)| *given) {
        return Err(format!("{option} is for one answer; give --chat a text").into());
    }
    let session = SessionOptions {
        run: settings(arguments),
        tokenizer: Some((&loaded.tokenizer).into()),
        ..SessionOptions::default()
    };
    let sequence = SequenceOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: stop_tokens(arguments, loaded)?,
        stop_strings: arguments.stop.clone(),
        sampling: arguments.sampling.clone(),
        ..SequenceOptions::default()
    };
    chat::converse(arguments, loaded, controller(arguments, loaded)?, session, &sequence)
}

fn complete(arguments: &Arguments, loaded: &Loaded, prompt: Vec<u32>, load_seconds: f64) -> Result<(), Box<dyn Error>> {
    let options = GenerateOptions {
        run: settings(arguments),
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: stop_tokens(arguments, loaded)?,
        stop_strings: arguments.stop.clone(),
        tokenizer: Some(&loaded.tokenizer),
        sampling: arguments.sampling.clone(),
        ..GenerateOptions::default()
    };
    let prompts = [prompt];
    let controller = Recorded::new(controller(arguments, loaded)?);
    let mut generation = generate(&loaded.model, controller, &prompts, options)?;
    interrupt::watch()?;
    let mut answer = Answer::default();
    let ended = answer.generate(&mut generation, arguments);
    if ended.as_ref().is_err_and(|error| error.is::<GenerateError>()) {
        return ended;
    }
    // What there is after Ctrl-C or a closed output is kept. A file that cannot be written takes no output away.
    let saved = answer.save(arguments, generation.controller().recording());
    let closed = ended.as_ref().is_err_and(|error| !error.is::<Interrupted>());
    let [prompt_ids] = prompts;
    let printed = if closed { Ok(()) } else { answer.print(arguments, prompt_ids, generation.report(), load_seconds) };
    saved?;
    ended?;
    Ok(printed?)
}

/// Returns the prompt's token ids; `None` for a conversation.
fn prompt(source: &Source, tokenizer: &Tokenizer) -> Result<Option<Vec<u32>>, Box<dyn Error>> {
    let text = match source {
        Source::Ids(ids) => return Ok(Some(ids.clone())),
        Source::Conversation => return Ok(None),
        Source::Text(text) => text.clone(),
        Source::File(file) => read_text(file)?,
        Source::Chat(question) => {
            let template = tokenizer.chat_template()?.ok_or("the checkpoint has no chat template; use --prompt")?;
            template.render(&[ChatMessage::new("user", question)], true)?
        }
    };
    Ok(Some(tokenizer.encode(&text, false)?))
}
