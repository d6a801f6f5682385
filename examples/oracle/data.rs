//! Prompts and references.

use dynlayer::inference::oracle::Item;
use dynlayer::model::text::{ChatMessage, Tokenizer};
use dynlayer_examples::embedded::held_out;
use dynlayer_tiny::Problem;
use serde::Deserialize;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The number of problems that are run if there is no limit.
const PROBLEMS: usize = 140;

/// A line of the data.
#[derive(Deserialize)]
pub struct Line {
    #[serde(default)]
    id: Option<serde_json::Value>,
    prompt: String,
    reference: String,
}

impl Line {
    /// Returns the line's id, or `number` if it has none.
    pub fn id(&self, number: usize) -> String {
        match &self.id {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => number.to_string(),
        }
    }
}

/// Reads the first `limit` lines of a file, or all lines without a limit.
pub fn read(file: &Path, limit: Option<usize>) -> Result<Vec<Line>, Box<dyn Error>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let reader = BufReader::new(std::fs::File::open(file).map_err(|error| named(&error))?);
    let mut lines = Vec::new();
    for (number, text) in (1..).zip(reader.lines()).take(limit.unwrap_or(usize::MAX)) {
        let named = |error: &dyn std::fmt::Display| format!("{}, line {number}: {error}", file.display());
        let text = text.map_err(|error| named(&error))?;
        let line: Line = serde_json::from_str(&text).map_err(|error| {
            named(&format!("expected an object with the strings \"prompt\" and \"reference\": {error}"))
        })?;
        if line.prompt.is_empty() {
            return Err(named(&"the prompt is empty").into());
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(named(&"expected at least one item, found none").into());
    }
    Ok(lines)
}

/// Returns the first `limit` held-out problems of the embedded model, or the first [`PROBLEMS`] without a limit.
pub fn problems(limit: Option<usize>) -> Vec<Line> {
    let line = |problem: Problem| Line { id: None, prompt: problem.prompt, reference: problem.answer };
    held_out(limit.unwrap_or(PROBLEMS)).map(line).collect()
}

/// Converts the lines to items of token ids, with at most `longest` tokens of each reference. An item's id is the
/// number of its line, counted from 0.
pub fn items(lines: &[Line], tokenizer: &Tokenizer, chat: bool, longest: usize) -> Result<Vec<Item>, Box<dyn Error>> {
    let template = if chat {
        Some(tokenizer.chat_template()?.ok_or("the checkpoint has no chat template; leave out --chat")?)
    } else {
        None
    };
    let item = |(id, line): (u64, &Line)| -> Result<Item, Box<dyn Error>> {
        let prompt = match &template {
            Some(template) => template.render(&[ChatMessage::user(&line.prompt)], true)?,
            None => line.prompt.clone(),
        };
        // A reference follows the chat template's text directly, but it follows a plain prompt after a space.
        let spaced = chat || line.prompt.ends_with(char::is_whitespace);
        let reference = if spaced { line.reference.clone() } else { format!(" {}", line.reference) };
        let mut reference_tokens = tokenizer.encode(&reference, false)?;
        reference_tokens.truncate(longest);
        Ok(Item { id, prompt: tokenizer.encode(&prompt, false)?, reference: line.reference.clone(), reference_tokens })
    };
    (0..).zip(lines).map(item).collect()
}
