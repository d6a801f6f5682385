//! Chat templates, which render a conversation in the form of the text that a model was trained on.

mod clock;
mod environment;
mod json;

use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};

use super::error::{TextError, TextErrorKind};
use super::special_tokens::SpecialTokens;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// The speaker: `system`, `user` or `assistant`, for most models.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

impl ChatMessage {
    /// Makes a turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// Makes a turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// Makes a turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// Makes a turn with the instructions before the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    fn to_value(&self) -> Value {
        Value::from_pairs([("role", self.role.as_str()), ("content", self.content.as_str())])
    }
}

/// A model's chat template, in the Jinja dialect of transformers.
///
/// Templates come with the model and are not trusted: instructions, text and nesting are metered, and a template that
/// exceeds its budget fails. One gap remains, which the template engine does not meter: comparing, concatenating (`~`)
/// or filtering lists that contain the same list many times over, many levels deep, takes time exponential in the
/// depth. Do not render templates from sources that you would not take a model from.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    roles: SpecialTokens,
}

/// The template's name in the engine.
const NAME: &str = "chat_template";

/// The name of the template in errors.
const ORIGIN: &str = "chat template";

/// The largest template that is parsed; the largest real ones have some 20 kB.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

impl ChatTemplate {
    /// Parses a template. `roles` become its variables `bos_token`, `eos_token`, `unk_token` and `pad_token`; missing
    /// ones are undefined.
    ///
    /// # Errors
    /// A template that is too long or cannot be parsed.
    pub fn new(template: &str, roles: SpecialTokens) -> Result<Self, TextError> {
        if template.len() > MAX_TEMPLATE_BYTES {
            let limit = format!("at most {MAX_TEMPLATE_BYTES} bytes");
            return Err(TextErrorKind::invalid("length", &template.len(), limit).at(ORIGIN));
        }
        // Jinja reads every kind of line end as "\n".
        let template = template.replace("\r\n", "\n").replace('\r', "\n");
        let mut environment = environment::environment(None).map_err(|source| failed("parsed", source))?;
        environment
            .add_template_owned(NAME, environment::without_generation_tags(&template))
            .map_err(|source| failed("parsed", source))?;
        Ok(Self { environment, roles })
    }

    /// Fixes the time for templates that put the date into the prompt: `unix_seconds` since 1970, shown in UTC. By
    /// default they get the current local time.
    #[must_use]
    pub fn at_time(mut self, unix_seconds: u64) -> Self {
        environment::set_time(&mut self.environment, Some(unix_seconds));
        self
    }

    /// Renders a conversation. With `add_generation_prompt` the text ends where the model's answer starts.
    ///
    /// The result contains its special tokens as text: encode it with `add_special` set to `false`.
    ///
    /// # Errors
    /// The template refuses the conversation (`raise_exception`), fails, or exceeds its budget.
    pub fn render(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, TextError> {
        let bytes = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        let fuel = environment::fuel(messages.len(), bytes);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("chat template".to_owned())
                .stack_size(environment::stack_bytes(fuel))
                .spawn_scoped(scope, || self.render_in(&environment, messages, add_generation_prompt))
                .map_err(|source| failed("rendered", source))?
                .join()
                .unwrap_or_else(|_| Err(failed("rendered", "the template engine panicked")))
        })
    }

    fn render_in(
        &self,
        environment: &Environment<'static>,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        // transformers also defines `tools` and `documents`, and templates test them for none.
        let mut variables = vec![
            ("messages", messages.iter().map(ChatMessage::to_value).collect()),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        for (name, token) in [
            ("bos_token", &self.roles.bos),
            ("eos_token", &self.roles.eos),
            ("unk_token", &self.roles.unk),
            ("pad_token", &self.roles.pad),
        ] {
            if let Some(token) = token {
                variables.push((name, Value::from(token.as_str())));
            }
        }
        environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from_pairs(variables)))
            .map_err(|source| failed("rendered", source))
    }
}

fn failed(stage: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TextError {
    TextErrorKind::Template { stage, source: source.into() }.at(ORIGIN)
}

#[cfg(test)]
mod tests;
