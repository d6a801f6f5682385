//! The model's own answers to prompts.

use super::arguments::Arguments;
use dynlayer::inference::controllers::FullDepth;
use dynlayer::inference::training::TrainingItem;
use dynlayer::inference::{GenerateOptions, generate};
use dynlayer::model::Digest;
use dynlayer_examples::data::Data;
use dynlayer_examples::{Loaded, PromptForm, progress_bar};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

/// The number of prompts that are answered together.
const TOGETHER: usize = 16;

/// The first line of the file of answers: everything that they depend on besides the prompts.
#[derive(PartialEq, Serialize, Deserialize)]
struct Head {
    model: Digest,
    max_new_tokens: usize,
    stop: BTreeSet<String>,
}

/// Another line of it.
#[derive(Serialize, Deserialize)]
struct Answer {
    prompt: Vec<u32>,
    answer: Vec<u32>,
}

/// The token ids of every prompt of the data.
pub fn encode(data: &Data, arguments: &Arguments, loaded: &Loaded) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let form = PromptForm::new(&arguments.model, &loaded.tokenizer, arguments.chat)?;
    data.lines.iter().map(|line| Ok(form.prompt(&line.prompt).map_err(|error| data.wrong(line, error))?)).collect()
}

/// Returns the prompts with the model's likeliest answers at full depth, which include the token that ends them. Answers
/// that `answers.jsonl` in the work folder has are not made again; new ones are added to it.
pub fn answers(
    arguments: &Arguments,
    prompts: &[Vec<u32>],
    loaded: &Loaded,
) -> Result<Vec<TrainingItem>, Box<dyn Error>> {
    let (file, max_new_tokens) = (&arguments.work.join("answers.jsonl"), arguments.max_new_tokens);
    let named = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut known = BTreeMap::new();
    let head =
        Head { model: loaded.model.weights_digest()?, max_new_tokens, stop: arguments.stop.iter().cloned().collect() };
    let exists = file.exists();
    if exists {
        let mut lines = BufReader::new(File::open(file).map_err(named)?).lines();
        let first = lines.next().transpose().map_err(named)?.unwrap_or_default();
        if serde_json::from_str::<Head>(&first).ok().as_ref() != Some(&head) {
            let file = file.display();
            return Err(
                format!("{file}: answers of another model, length or end; remove it, or use another --work").into()
            );
        }
        for line in lines {
            // The last line may have been cut off.
            let Ok(Answer { prompt, answer }) = serde_json::from_str(&line.map_err(named)?) else { continue };
            known.insert(Digest::of_tokens([&prompt[..]]), answer);
        }
    }
    let new: Vec<&Vec<u32>> =
        prompts.iter().filter(|prompt| !known.contains_key(&Digest::of_tokens([&prompt[..]]))).collect();
    let mut out = OpenOptions::new().create(true).append(true).open(file).map_err(named)?;
    if !exists {
        writeln!(out, "{}", serde_json::to_string(&head)?).map_err(named)?;
    }
    let stop_tokens = loaded.checkpoint.stop_tokens(&loaded.tokenizer)?;
    let bar = progress_bar(arguments.quiet, "answering {bar:30} {pos}/{len} prompts, left {eta}");
    bar.set_length(new.len() as u64);
    for together in new.chunks(TOGETHER) {
        let options = GenerateOptions {
            max_new_tokens,
            stop_tokens: stop_tokens.clone(),
            stop_strings: arguments.stop.clone(),
            tokenizer: Some(&loaded.tokenizer),
            ..GenerateOptions::default()
        };
        let together: Vec<Vec<u32>> = together.iter().map(|prompt| (*prompt).clone()).collect();
        let (completions, _) = generate(&loaded.model, FullDepth, &together, options)?.finish()?;
        for (prompt, completion) in together.into_iter().zip(completions) {
            let answer = completion.tokens;
            let line = serde_json::to_string(&Answer { prompt: prompt.clone(), answer: answer.clone() })?;
            // After a line that was cut off, the next one begins anew.
            writeln!(out, "\n{line}").map_err(named)?;
            known.insert(Digest::of_tokens([&prompt[..]]), answer);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let items = (0..).zip(prompts).filter_map(|(id, prompt)| {
        let answer = known.get(&Digest::of_tokens([&prompt[..]]))?.clone();
        (!answer.is_empty()).then(|| TrainingItem { id, prompt: prompt.clone(), answer })
    });
    Ok(items.collect())
}
