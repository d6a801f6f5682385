//! Prompts with references, from a file with a JSON object per line or from standard input.

use crate::output::warn;
use dynlayer::metrics::text::Rouge;
use serde::Deserialize;
use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The largest number of lines that a warning names.
const NAMED: usize = 12;

/// A prompt with its reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the line in its file, from 1; blank lines count.
    pub number: usize,
    /// The number of the item, from 0. Blank lines do not count, but items that [`Data::fit`] leaves out do, so that
    /// leaving out some does not renumber the others.
    pub index: u64,
    /// The item's id; `index` if the file gives none.
    pub id: String,
    /// The prompt, not empty.
    pub prompt: String,
    /// The reference.
    pub reference: String,
}

/// The prompts and references of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// The name of the file in messages.
    pub name: String,
    /// The items, in the order of the file.
    pub lines: Vec<Line>,
    /// The numbers of the lines that [`Data::fit`] left out.
    pub left_out: Vec<usize>,
}

/// The error for an item, which names its file and line.
#[derive(Debug, thiserror::Error)]
#[error("{file}, line {line}")]
pub struct LineError {
    file: String,
    line: usize,
    source: Box<dyn Error>,
}

/// A line as JSON. Other fields are allowed, since data sets have more.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: Option<serde_json::Value>,
    prompt: String,
    reference: String,
}

impl Data {
    /// Reads the first `limit` items of a file, or of standard input if the path is `-`; all items without a limit.
    /// Skips blank lines and a byte order mark.
    ///
    /// # Errors
    /// If the file cannot be read or holds no item, or a line is not UTF-8, not JSON, or lacks a prompt or a reference.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self, Box<dyn Error>> {
        if path == Path::new("-") {
            return Self::parse("standard input".into(), std::io::stdin().lock(), limit);
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(name, BufReader::new(file), limit)
    }

    fn parse(name: String, reader: impl BufRead, limit: Option<usize>) -> Result<Self, Box<dyn Error>> {
        let limit = limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Err("a limit of 0 leaves no item; expected at least 1".into());
        }
        let mut lines = Vec::new();
        let mut texts = (1..).zip(reader.split(b'\n'));
        // The limit is tested before a line is read, as standard input may have no more to give for a while.
        while lines.len() < limit
            && let Some((number, text)) = texts.next()
        {
            let wrong = |source: Box<dyn Error>| LineError { file: name.clone(), line: number, source };
            let text = text.map_err(|error| wrong(error.into()))?;
            let text = text.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&text);
            if let Some(line) = parse_line(text, number, lines.len()).map_err(wrong)? {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            return Err(format!("{name}: expected at least one item, found none").into());
        }
        Ok(Self { name, lines, left_out: Vec::new() })
    }

    /// Returns an error that names a line.
    pub fn wrong(&self, line: &Line, source: impl Into<Box<dyn Error>>) -> LineError {
        LineError { file: self.name.clone(), line: line.number, source: source.into() }
    }

    /// Keeps the lines whose items fit the model's context, and returns their items. `items` has one item per line, and
    /// `tokens` returns the number of an item's tokens. With `skip`, warns about the lines that are left out.
    ///
    /// # Errors
    /// If an item does not fit and `skip` is false, or no item fits.
    pub fn fit<T>(
        &mut self,
        items: Vec<T>,
        tokens: impl Fn(&T) -> usize,
        context: usize,
        skip: bool,
    ) -> Result<Vec<T>, Box<dyn Error>> {
        let all = std::mem::take(&mut self.lines).into_iter().zip(items);
        let (fit, long): (Vec<_>, Vec<_>) = all.partition(|(_, item)| tokens(item) <= context);
        if let Some((line, item)) = long.first()
            && !skip
        {
            let found = tokens(item);
            let text = format!(
                "the item has {found} tokens; the model's context is {context}: shorten it, or leave out all such \
                 items with --skip-long"
            );
            return Err(self.wrong(line, text).into());
        }
        self.left_out = long.iter().map(|(line, _)| line.number).collect();
        let total = fit.len() + long.len();
        if fit.is_empty() {
            return Err(format!("{}: none of {total} items fits the model's context of {context}", self.name).into());
        }
        if !long.is_empty() {
            warn(format_args!(
                "{}: left out {} of {total} items, which do not fit the model's context of {context}: {}",
                self.name,
                long.len(),
                named(&self.left_out)
            ));
        }
        let (lines, items) = fit.into_iter().unzip();
        self.lines = lines;
        Ok(items)
    }
}

/// Parses a line; `None` if it is blank.
fn parse_line(text: &[u8], number: usize, index: usize) -> Result<Option<Line>, Box<dyn Error>> {
    let text = std::str::from_utf8(text)
        .map_err(|error| format!("expected UTF-8, found another byte after {} bytes", error.valid_up_to()))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let Record { id, prompt, reference } = serde_json::from_str(text).map_err(|error| {
        // The parser counts lines from the one that it was given.
        let error = error.to_string().replace(" at line 1 column ", " at column ");
        format!("expected an object with the strings \"prompt\" and \"reference\": {error}")
    })?;
    if prompt.is_empty() {
        return Err("the prompt is empty".into());
    }
    let id = match id {
        Some(serde_json::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => index.to_string(),
    };
    Ok(Some(Line { number, index: index as u64, id, prompt, reference }))
}

/// Returns a warning about references without a token that ROUGE counts; `None` if there are none.
pub fn unscored_by_rouge(lines: &[Line]) -> Option<String> {
    let unscored = lines.iter().filter(|line| Rouge::plain().tokenize(&line.reference).is_empty());
    let unscored: Vec<usize> = unscored.map(|line| line.number).collect();
    let (n, total, counted) = (unscored.len(), lines.len(), "token that ROUGE counts (a to z, 0 to 9)");
    match n {
        0 => None,
        _ if n == total => Some(format!("no reference has a {counted}: every score is 0, whatever the outputs are")),
        _ => Some(format!("{n} of {total} references have no {counted}, and always score 0: {}", named(&unscored))),
    }
}

/// Returns the numbers of lines as text, such as "lines 2, 7, 9"; only the first ones if there are many.
pub fn named(lines: &[impl Display]) -> String {
    let word = if lines.len() == 1 { "line" } else { "lines" };
    let first: Vec<String> = lines.iter().take(NAMED).map(ToString::to_string).collect();
    let more = lines.len() - first.len();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{word} {}{rest}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8], limit: Option<usize>) -> Result<Data, String> {
        Data::parse("f.jsonl".into(), text, limit).map_err(|error| with_cause(error.as_ref()))
    }

    fn with_cause(error: &dyn Error) -> String {
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    }

    /// Numbers, indices and ids of the lines.
    fn places(data: &Data) -> Vec<(usize, u64, &str)> {
        data.lines.iter().map(|line| (line.number, line.index, line.id.as_str())).collect()
    }

    #[test]
    fn blank_lines_a_byte_order_mark_and_other_line_ends_are_skipped() {
        let text = "\u{feff}{\"prompt\":\"a\",\"reference\":\"1\",\"more\":[2]}\r\n \r\n\n\
                    {\"id\":7,\"prompt\":\"b\",\"reference\":\"\"}\n\
                    {\"id\":\"x\",\"prompt\":\"c\",\"reference\":\"3\"}";
        let data = parse(text.as_bytes(), None).unwrap();
        assert_eq!(places(&data), [(1, 0, "0"), (4, 1, "7"), (5, 2, "x")]);
        assert_eq!((data.lines[0].prompt.as_str(), data.lines[0].reference.as_str()), ("a", "1"));
        // The limit counts items. What follows them is not read.
        let text = b"\n{\"prompt\":\"a\",\"reference\":\"1\"}\n\xff";
        let data = parse(text, Some(1)).unwrap();
        assert_eq!(places(&data), [(2, 0, "0")]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let good = "{\"prompt\":\"a\",\"reference\":\"1\"}\n";
        let refused = |second: &[u8]| parse(&[good.as_bytes(), b"\n", second].concat(), None).unwrap_err();
        for (line, expected) in [
            ("{\"prompt\":\"a\"}", "missing field `reference` at column 14"),
            ("{\"prompt\":\"\",\"reference\":\"1\"}", "the prompt is empty"),
            ("{\"prompt\":1,\"reference\":\"1\"}", "expected a string at column"),
            ("[", "\"prompt\" and \"reference\""),
            ("\u{feff}", "\"prompt\" and \"reference\""),
        ] {
            let error = refused(line.as_bytes());
            assert!(error.starts_with("f.jsonl, line 3: ") && error.contains(expected), "{error}");
        }
        let error = refused(b"{\"prompt\":\"\xff\",\"reference\":\"1\"}");
        assert_eq!(error, "f.jsonl, line 3: expected UTF-8, found another byte after 11 bytes");
        for empty in ["", "\n \n", "\u{feff}"] {
            assert_eq!(parse(empty.as_bytes(), None).unwrap_err(), "f.jsonl: expected at least one item, found none");
        }
        assert!(parse(good.as_bytes(), Some(0)).unwrap_err().contains("leaves no item"));
        assert!(Data::read(Path::new("none.jsonl"), None).unwrap_err().to_string().starts_with("none.jsonl: "));
    }

    #[test]
    fn items_that_do_not_fit_are_refused_or_left_out() {
        let text = "{\"prompt\":\"aa\",\"reference\":\"\"}\n\n{\"prompt\":\"aaaaa\",\"reference\":\"\"}\n\
                    {\"prompt\":\"aaa\",\"reference\":\"\"}\n";
        let fit = |context, skip| {
            let mut data = parse(text.as_bytes(), None).unwrap();
            let items: Vec<String> = data.lines.iter().map(|line| line.prompt.clone()).collect();
            let items = data.fit(items, String::len, context, skip);
            items.map(|items| (items, data)).map_err(|error| with_cause(error.as_ref()))
        };
        let (items, data) = fit(5, false).unwrap();
        assert_eq!((items.len(), data.lines.len(), data.left_out.len()), (3, 3, 0));
        let error = fit(4, false).unwrap_err();
        assert!(error.starts_with("f.jsonl, line 3: the item has 5 tokens; the model's context is 4"), "{error}");
        let (items, data) = fit(4, true).unwrap();
        assert_eq!((items, data.left_out.clone()), (vec!["aa".to_owned(), "aaa".to_owned()], vec![3]));
        // The others keep their numbers.
        assert_eq!(places(&data), [(1, 0, "0"), (4, 2, "2")]);
        assert_eq!(fit(1, true).unwrap_err(), "f.jsonl: none of 3 items fits the model's context of 1");
    }

    #[test]
    fn references_that_rouge_cannot_score_are_told() {
        let warning = |references: [&str; 2]| {
            let line = |(i, reference): (usize, &str)| Line {
                number: i + 1,
                index: i as u64,
                id: i.to_string(),
                prompt: "a".to_owned(),
                reference: reference.to_owned(),
            };
            let lines: Vec<Line> = references.into_iter().enumerate().map(line).collect();
            unscored_by_rouge(&lines)
        };
        assert_eq!(warning(["a", "1"]), None);
        assert!(warning(["你好", "春"]).unwrap().starts_with("no reference has a token that ROUGE counts"));
        let some = warning(["a", "春"]).unwrap();
        assert!(some.starts_with("1 of 2 references have no token") && some.ends_with(": line 2"), "{some}");
    }

    #[test]
    fn few_of_many_lines_are_named() {
        assert_eq!(named(&[3]), "line 3");
        assert_eq!(named(&[3, 4]), "lines 3, 4");
        let many: Vec<usize> = (1..=14).collect();
        assert_eq!(named(&many), "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 2 more");
    }
}
