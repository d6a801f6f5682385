//! Compares speculation with plain decoding: the same tokens, and the time that they take.
//!
//! ```text
//! cargo run --release --example speculate -- --model DIR|FILE.gguf --controller uniform:26
//! ```

mod arguments;

use arguments::Arguments;
use clap::Parser;
use dynlayer::inference::controllers::Resources;
use dynlayer::inference::{RunSettings, SequenceOptions, SessionOptions};
use dynlayer::model::WeightDtype;
use dynlayer::model::text::TextError;
use dynlayer_examples::data::{Data, Line};
use dynlayer_examples::output::warn;
use dynlayer_examples::speculation::{Prompts, SpeculationRow};
use dynlayer_examples::{Loaded, PromptForm, calibration};
use dynlayer_tiny::{self as tiny, Task, problems};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// The prompts of a real model, if none are given.
const QUESTIONS: [&str; 4] = [
    "Tell me a short story about a fox.",
    "Explain in a few sentences why the sky is blue.",
    "Write a letter to a friend about a rainy day at the sea.",
    "List ten animals and say what they eat.",
];

fn main() -> ExitCode {
    dynlayer_examples::main_of(|| run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    arguments.sampling().validate()?;
    let loaded = Loaded::open_as(&arguments.model, arguments.dtype, WeightDtype::F32, arguments.json)?;
    let mut resources = tiny::resources().seed(arguments.seed);
    let specs = arguments.controllers();
    if specs.iter().any(|spec| spec.needs().calibration) {
        let texts = calibration::texts(None, &arguments.model, &loaded.tokenizer, &loaded.model)?;
        resources = Resources::texts(resources, texts);
    }
    let groups = groups(arguments, &loaded)?;
    let run = RunSettings { kv_policy: arguments.kv_policy, seed: arguments.seed, ..RunSettings::default() };
    let session = SessionOptions {
        run,
        speculation: Some(arguments.speculation()),
        tokenizer: Some((&loaded.tokenizer).into()),
        ..SessionOptions::default()
    };
    let sequence = SequenceOptions {
        max_new_tokens: arguments.max_new_tokens,
        stop_tokens: loaded.checkpoint.stop_tokens(&loaded.tokenizer)?,
        stop_strings: arguments.stop.clone(),
        sampling: arguments.sampling(),
        ..SequenceOptions::default()
    };
    let mut out = std::io::stdout().lock();
    if !arguments.json {
        writeln!(out, "{}", SpeculationRow::HEAD)?;
    }
    let mut rows = Vec::new();
    for spec in &specs {
        for group in &groups {
            let (name, prompts) = group;
            let prompts = Prompts {
                name,
                prompts,
                batch: arguments.batch,
                repeat: arguments.repeat,
                session: session.clone(),
                sequence: sequence.clone(),
            };
            let controller = || Ok(spec.build(&loaded.model, &resources)?);
            let row = prompts.compare(&loaded.model, &spec.to_string(), controller)?;
            if !arguments.json {
                writeln!(out, "{row}")?;
            }
            if arguments.exact() && row.differing > 0 {
                let (drafter, prompts) = (&row.drafter, &row.prompts);
                return Err(
                    format!("{drafter}, {prompts}: {} texts are not those of plain decoding", row.differing).into()
                );
            }
            rows.push(row);
        }
    }
    if arguments.json {
        serde_json::to_writer(&mut out, &rows)?;
        return Ok(writeln!(out)?);
    }
    let differing: usize = rows.iter().map(|row| row.differing).sum();
    let same = if differing == 0 { "the same tokens".to_owned() } else { format!("other tokens {differing} times") };
    writeln!(out, "\nPlain and speculative decoding took turns, prompt by prompt, and gave {same}.\n")?;
    for row in &rows {
        writeln!(out, "{}, {}: {}", row.drafter, row.prompts, row.report)?;
    }
    Ok(())
}

/// Prompts with a name.
type Group = (String, Vec<Vec<u32>>);

/// The prompts: those of a file, the embedded model's tasks, or a few questions.
fn groups(arguments: &Arguments, loaded: &Loaded) -> Result<Vec<Group>, Box<dyn Error>> {
    let Loaded { tokenizer, .. } = loaded;
    if arguments.model.model.is_none() && arguments.data.is_none() {
        let group = |task: Task| {
            let prompts = problems(&[task], arguments.problems, arguments.seed);
            let encoded = prompts.iter().map(|problem| tokenizer.encode(&problem.prompt, false));
            Ok((task.name().to_owned(), encoded.collect::<Result<_, TextError>>()?))
        };
        return Task::ALL.into_iter().map(group).collect();
    }
    let prompts: Vec<Vec<u32>> = if let Some(file) = &arguments.data {
        let form = PromptForm::new(&arguments.model, tokenizer, arguments.chat)?;
        let data = Data::read(file, arguments.limit)?;
        let prompt = |line: &Line| form.prompt(&line.prompt).map_err(|error| data.wrong(line, error).into());
        data.lines.iter().map(prompt).collect::<Result<_, Box<dyn Error>>>()?
    } else {
        let form = PromptForm::usual(&arguments.model, tokenizer)?;
        if !form.is_chat() {
            warn("the checkpoint has no chat template: it continues the prompts");
        }
        QUESTIONS.iter().map(|question| form.prompt(question)).collect::<Result<_, _>>()?
    };
    Ok(vec![(format!("{} prompts", prompts.len()), prompts)])
}
