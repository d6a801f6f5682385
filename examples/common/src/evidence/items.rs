//! Prompts and references.

use super::{EvidenceArguments, Metric};
use crate::PromptForm;
use crate::data::{Data, Line, unscored_by_rouge};
use crate::embedded::held_out;
use dynlayer::inference::oracle::Item;
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::Problem;
use std::collections::HashMap;
use std::error::Error;

/// The number of problems that are run if there is no limit.
const PROBLEMS: usize = 140;

/// Reads the data, or returns the first held-out problems of the embedded model if no file was named.
pub fn read(arguments: &EvidenceArguments) -> Result<Data, Box<dyn Error>> {
    if let Some(file) = &arguments.data {
        return Data::read(file, arguments.limit);
    }
    if arguments.model.model.is_some() {
        return Err("--model needs --data FILE.jsonl: built-in problems are for the embedded model only".into());
    }
    let problems = held_out(arguments.limit.unwrap_or(PROBLEMS)).enumerate();
    let line = |(index, problem): (usize, Problem)| Line {
        number: index + 1,
        index: index as u64,
        id: index.to_string(),
        prompt: problem.prompt,
        reference: problem.answer,
    };
    let lines: Vec<Line> = problems.map(line).collect();
    if lines.is_empty() {
        return Err("--limit 0 leaves no item; expected at least 1".into());
    }
    Ok(Data { name: "the built-in problems".to_owned(), lines, ..Data::default() })
}

/// Converts the lines to items of token ids, with at most `--max-new-tokens` tokens of each reference. An item's id is
/// the line's index. Lines that do not fit the model's context are refused or left out, as the options say.
pub fn items(
    data: &mut Data,
    arguments: &EvidenceArguments,
    tokenizer: &Tokenizer,
    model: &Llama,
) -> Result<Vec<Item>, Box<dyn Error>> {
    let form = PromptForm::new(&arguments.model, tokenizer, arguments.chat)?;
    let scored = arguments.metric == Metric::Nll;
    let item = |line: &Line| -> Result<Item, Box<dyn Error>> {
        let text = form.text(&line.prompt)?;
        let prompt = form.encode(&text)?;
        if prompt.is_empty() {
            return Err("the prompt has no token".into());
        }
        // A reference follows the chat template's text directly, but it follows a plain prompt after a space.
        let spaced = arguments.chat || line.prompt.ends_with(char::is_whitespace);
        let reference = if spaced { line.reference.clone() } else { format!(" {}", line.reference) };
        // The tokens that it has after the prompt. They may differ from those that it has alone, where a SentencePiece
        // tokenizer puts a space before it. Where the two texts share a token, those alone are the best there is.
        let mut reference_tokens = match form.encode(&(text + &reference))?.strip_prefix(&prompt[..]) {
            Some(tokens) => tokens.to_vec(),
            None => tokenizer.encode(&reference, false)?,
        };
        reference_tokens.truncate(arguments.max_new_tokens);
        if scored && reference_tokens.is_empty() {
            return Err("the reference has no token that --metric nll could score".into());
        }
        Ok(Item { id: line.index, prompt, reference: line.reference.clone(), reference_tokens })
    };
    let items = data.lines.iter().map(|line| item(line).map_err(|error| data.wrong(line, error)));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let tokens = |item: &Item| item.prompt.len() + if scored { item.reference_tokens.len() } else { 0 };
    data.fit(items, tokens, model.config().max_positions, arguments.skip_long)
}

/// Returns what is wrong with the data without being an error: references that the metric cannot score, and ids that
/// do not tell items apart.
pub fn warnings(data: &Data, metric: Metric) -> Vec<String> {
    let lines = &data.lines;
    let unscored = if metric == Metric::RougeL { unscored_by_rouge(lines) } else { None };
    let mut warnings: Vec<String> =
        unscored.into_iter().map(|text| format!("{text}; --metric agreement needs no reference")).collect();
    let mut seen = HashMap::new();
    let again = lines.iter().find_map(|line| Some((line, seen.insert(&line.id, line.number)?)));
    if let Some((Line { number, .. }, first)) = again {
        warnings.push(format!(
            "lines {first} and {number} have the same id; only the column `sequence` tells such items apart"
        ));
    }
    warnings
}
