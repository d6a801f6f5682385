//! Certificates of the example `calibrate`, which `generate` uses.

use crate::arguments::ModelArguments;
use dynlayer::metrics::certificate::Certificate;
use dynlayer::model::text::{TextError, Tokenizer};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// The way in which texts are made. A certificate is only for texts that are made in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    prompts: String,
    decoding: String,
}

impl Texts {
    /// Prompts that are single messages in the chat template, or plain texts, and greedy outputs of at most so many tokens
    /// that also end before one of some strings.
    pub fn greedy(
        arguments: &ModelArguments,
        tokenizer: &Tokenizer,
        chat: bool,
        max_new_tokens: usize,
        stop: &[String],
    ) -> Result<Self, TextError> {
        let form = match (chat, arguments.bos(tokenizer)?) {
            (true, _) => "single messages in the chat template",
            (false, Some(_)) => "plain texts after the first special token",
            (false, None) => "plain texts",
        };
        let prompts = format!("{form}, tokenizer and template {}", tokenizer.digest()?);
        Ok(Self { prompts, decoding: format!("greedy, {}", Self::end(max_new_tokens, stop)) })
    }

    /// The end of outputs in words.
    pub fn end(max_new_tokens: usize, stop: &[String]) -> String {
        // Their order changes nothing.
        let stop: BTreeSet<&String> = stop.iter().collect();
        let before = if stop.is_empty() { String::new() } else { format!(", up to one of {stop:?}") };
        format!("at most {max_new_tokens} new tokens{before}")
    }

    /// The labels of a certificate's conditions.
    pub fn labels(&self) -> [(&'static str, &str); 2] {
        [("prompts", &self.prompts), ("decoding", &self.decoding)]
    }
}

/// Reads a certificate.
pub fn read(file: &Path) -> Result<Certificate, Box<dyn Error>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = std::fs::read(file).map_err(|error| named(&error))?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| named(&format!("expected a certificate: {error}")))?)
}
