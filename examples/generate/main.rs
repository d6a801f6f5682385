//! Generates text with a model while a controller decides which layers run.
//!
//! ```text
//! cargo run --example generate -- --model DIR|FILE.gguf --chat "What is the capital of France?" \
//!     --controller uniform:20
//! ```

mod answer;
mod arguments;
mod chat;
mod inspect;
mod output;

use answer::Answer;
use arguments::{Arguments, Source};
use dynlayer::inference::controllers::{Recorded, Resources};
use dynlayer::inference::oracle::Certified;
use dynlayer::inference::{
    Controller, GenerateError, GenerateOptions, RunSettings, SequenceOptions, SessionOptions, generate,
};
use dynlayer::model::text::{ChatMessage, Tokenizer};
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use dynlayer_examples::certificates::{self, Texts};
use dynlayer_examples::interrupt::{self, Interrupted};
use dynlayer_examples::output::{check, same_file, warn};
use dynlayer_examples::{calibration, chain, open_device, read_text, weight_type, weights};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(Arguments::parse()))
}

fn run(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    arguments.sampling.validate()?;
    for file in arguments.record.iter().chain(&arguments.depth_map) {
        check(file)?;
    }
    if let (Some(record), Some(map)) = (&arguments.record, &arguments.depth_map)
        && same_file(record, map)
    {
        return Err(format!("--record and --depth-map both name {}; expected two files", map.display()).into());
    }
    if arguments.speculation.is_some() && arguments.controller.to_string().contains("replay:") {
        return Err("--speculate cannot draft with a recording, which has no answers for other drafts".into());
    }
    for (option, reason) in arguments.without_effect() {
        warn(format_args!("{option} has no effect {reason}"));
    }
    let started = Instant::now();
    let opened = Opened::new(&arguments)?;
    if let Some(file) = arguments.certificate.clone() {
        certify(&mut arguments, &file, &opened)?;
    }
    let arguments = &arguments;
    let load_seconds = started.elapsed().as_secs_f64();
    let Some(prompt) = prompt(arguments, &opened)? else { return converse(arguments, &opened) };

    if let Some(n) = arguments.logits_top {
        output::print(&inspect::inspect(&opened.model, &prompt, n)?)?;
        return Ok(());
    }
    complete(arguments, &opened, prompt, load_seconds)
}

/// The checkpoint and the loaded model. Token ids are continued without a tokenizer too.
struct Opened {
    checkpoint: Checkpoint,
    tokenizer: Option<Tokenizer>,
    model: Llama,
}

impl Opened {
    fn new(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let device = open_device(arguments.model.device)?;
        let checkpoint = arguments.model.checkpoint()?;
        let tokenizer = match checkpoint.tokenizer() {
            Ok(tokenizer) => Some(tokenizer),
            Err(error) if matches!(arguments.source, Source::Ids(_)) => {
                let error = chain(&error);
                if !arguments.stop.is_empty() {
                    return Err(format!("--stop needs the model's tokenizer, which cannot be used: {error}").into());
                }
                warn(format_args!("there are token ids only (--json shows them), and no text: {error}"));
                None
            }
            Err(error) => return Err(error.into()),
        };
        let quiet = arguments.json || arguments.logits_top.is_some();
        let dtype = weight_type(&checkpoint, &device, arguments.dtype, WeightDtype::F32);
        let model = arguments.model.adapted(weights(&checkpoint, dtype, &device, quiet)?)?;
        Ok(Self { checkpoint, tokenizer, model })
    }

    /// Returns the tokenizer for something that needs one.
    fn tokenizer(&self, what: &str) -> Result<&Tokenizer, String> {
        self.tokenizer.as_ref().ok_or_else(|| format!("{what} needs the model's tokenizer, which cannot be used"))
    }
}

fn settings(arguments: &Arguments) -> RunSettings {
    RunSettings {
        control_from: arguments.control_from,
        kv_policy: arguments.kv_policy,
        kv_dtype: arguments.kv_dtype,
        seed: arguments.seed,
        ..RunSettings::default()
    }
}

fn stop_tokens(arguments: &Arguments, opened: &Opened) -> Result<Vec<u32>, Box<dyn Error>> {
    if arguments.ignore_eos {
        return Ok(Vec::new());
    }
    Ok(match &opened.tokenizer {
        Some(tokenizer) => opened.checkpoint.stop_tokens(tokenizer)?,
        None => opened.checkpoint.config().eos_tokens.clone(),
    })
}

/// The texts that the controller is calibrated on, if it may need some.
fn resources(arguments: &Arguments, opened: &Opened) -> Result<Resources, Box<dyn Error>> {
    let spec = &arguments.controller;
    let resources = Resources::new().seed(arguments.seed);
    if !spec.needs().calibration && arguments.certificate.is_none() {
        return Ok(resources);
    }
    let tokenizer = opened.tokenizer(&format!("the calibration of {spec}"))?;
    let file = arguments.calibration.as_deref();
    Ok(resources.texts(calibration::texts(file, &arguments.model, tokenizer, &opened.model)?))
}

/// Makes the controller, calibrated if it needs to be.
fn controller(arguments: &Arguments, opened: &Opened) -> Result<Box<dyn Controller + Send>, Box<dyn Error>> {
    Ok(arguments.controller.build(&opened.model, &resources(arguments, opened)?)?)
}

/// Takes the controller and the settings of a certificate.
fn certify(arguments: &mut Arguments, file: &Path, opened: &Opened) -> Result<(), Box<dyn Error>> {
    let certificate = certificates::read(file)?;
    if matches!(arguments.source, Source::Conversation) {
        return Err("--certificate is for single messages, and a conversation has more; give --chat a text".into());
    }
    let chat = matches!(arguments.source, Source::Chat(_));
    let tokenizer = opened.tokenizer("--certificate")?;
    let texts = Texts::greedy(&arguments.model, tokenizer, chat, arguments.max_new_tokens, &arguments.stop)?;
    let resources = resources(arguments, opened)?;
    let Certified { spec, run } = Certified::open(&certificate, &opened.model, &resources, texts.labels())
        .map_err(|error| format!("{}: {}", file.display(), chain(&error)))?;
    let RunSettings { control_from, kv_policy, kv_dtype, seed, .. } = run;
    (arguments.controller, arguments.seed) = (spec, seed);
    (arguments.control_from, arguments.kv_policy, arguments.kv_dtype) = (control_from, kv_policy, kv_dtype);
    Ok(())
}

fn converse(arguments: &Arguments, opened: &Opened) -> Result<(), Box<dyn Error>> {
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
    let tokenizer = opened.tokenizer("--chat")?;
    let session = SessionOptions {
        run: settings(arguments),
        tokenizer: Some(tokenizer.into()),
        speculation: arguments.speculation,
        ..SessionOptions::default()
    };
    let sequence = SequenceOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: stop_tokens(arguments, opened)?,
        stop_strings: arguments.stop.clone(),
        sampling: arguments.sampling.clone(),
        ..SequenceOptions::default()
    };
    let controller = controller(arguments, opened)?;
    chat::converse(arguments, (&opened.model, tokenizer), controller, session, &sequence)
}

fn complete(arguments: &Arguments, opened: &Opened, prompt: Vec<u32>, load_seconds: f64) -> Result<(), Box<dyn Error>> {
    let options = GenerateOptions {
        run: settings(arguments),
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: stop_tokens(arguments, opened)?,
        stop_strings: arguments.stop.clone(),
        tokenizer: opened.tokenizer.as_ref(),
        sampling: arguments.sampling.clone(),
        speculation: arguments.speculation,
        ..GenerateOptions::default()
    };
    let prompts = [prompt];
    let controller = Recorded::new(controller(arguments, opened)?);
    let mut generation = generate(&opened.model, controller, &prompts, options)?;
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
fn prompt(arguments: &Arguments, opened: &Opened) -> Result<Option<Vec<u32>>, Box<dyn Error>> {
    Ok(match &arguments.source {
        Source::Ids(ids) => Some(ids.clone()),
        Source::Conversation => None,
        Source::Text(text) => Some(arguments.model.encode(opened.tokenizer("--prompt")?, text)?),
        Source::File(file) => Some(arguments.model.encode(opened.tokenizer("--prompt-file")?, &read_text(file)?)?),
        Source::Chat(question) => {
            let tokenizer = opened.tokenizer("--chat")?;
            let template = tokenizer.chat_template()?.ok_or("the checkpoint has no chat template; use --prompt")?;
            Some(tokenizer.encode(&template.render(&[ChatMessage::user(question)], true)?, false)?)
        }
    })
}
