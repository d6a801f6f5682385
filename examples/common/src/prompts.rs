//! Prompts as token ids: messages in a model's chat template, or plain texts.

use crate::arguments::ModelArguments;
use dynlayer::model::text::{ChatMessage, ChatTemplate, Tokenizer};
use std::error::Error;

/// Makes token ids of prompts, all in the same form.
pub struct PromptForm<'a> {
    arguments: &'a ModelArguments,
    tokenizer: &'a Tokenizer,
    /// The chat template; `None` if prompts are plain texts.
    template: Option<ChatTemplate>,
}

impl<'a> PromptForm<'a> {
    /// Messages if the model has a chat template, and otherwise plain texts.
    pub fn usual(arguments: &'a ModelArguments, tokenizer: &'a Tokenizer) -> Result<Self, Box<dyn Error>> {
        Ok(Self { arguments, tokenizer, template: tokenizer.chat_template()? })
    }

    /// Messages if `chat`, and otherwise plain texts. Refuses messages to a model without a chat template.
    pub fn new(arguments: &'a ModelArguments, tokenizer: &'a Tokenizer, chat: bool) -> Result<Self, Box<dyn Error>> {
        if !chat {
            return Ok(Self { arguments, tokenizer, template: None });
        }
        let form = Self::usual(arguments, tokenizer)?;
        if form.is_chat() { Ok(form) } else { Err("the checkpoint has no chat template; leave out --chat".into()) }
    }

    /// Returns true if prompts are messages.
    pub fn is_chat(&self) -> bool {
        self.template.is_some()
    }

    /// Returns the text that the model reads for a prompt.
    pub fn text(&self, prompt: &str) -> Result<String, Box<dyn Error>> {
        Ok(match &self.template {
            Some(template) => template.render(&[ChatMessage::user(prompt)], true)?,
            None => prompt.to_owned(),
        })
    }

    /// Returns the token ids of a text that the model reads. A chat template writes special tokens itself.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error>> {
        Ok(match &self.template {
            Some(_) => self.tokenizer.encode(text, false)?,
            None => self.arguments.encode(self.tokenizer, text)?,
        })
    }

    /// Returns the token ids of a prompt.
    pub fn prompt(&self, prompt: &str) -> Result<Vec<u32>, Box<dyn Error>> {
        self.encode(&self.text(prompt)?)
    }
}
