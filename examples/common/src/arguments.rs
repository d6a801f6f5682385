//! Options that several examples share, and values of command lines.

use crate::output::warn;
use dynlayer::inference::DraftLength;
use dynlayer::model::text::{TextError, Tokenizer};
use dynlayer::model::{Adapter, Backend, Checkpoint, DeviceSpec, Llama, LoadError};
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

/// A text on which [`ModelArguments::bos`] tries a tokenizer.
const TRIED: &str = "a";

/// The options that choose the model, and how it reads text.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArguments {
    /// A Hugging Face folder or a GGUF file; by default the embedded model.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub model: Option<PathBuf>,
    /// A folder with a `LoRA` adapter in PEFT's format, which is merged into the weights; may be given more than once.
    #[arg(long = "adapter", value_name = "DIR")]
    pub adapters: Vec<PathBuf>,
    /// A folder with a `LoRA` adapter that stays beside the weights. With speculation only drafts run with it, so that the
    /// text is that of the model without it.
    #[arg(long, value_name = "DIR")]
    pub adapter_beside: Option<PathBuf>,
    /// Leave out the special tokens that the tokenizer adds to a text, such as `<s>` at its beginning. A chat template
    /// writes its own.
    #[arg(long)]
    pub no_bos: bool,
    /// The device to compute on: flex, ndarray, cuda or wgpu, or cuda:1 for the second GPU; all but flex need the Cargo feature
    /// of that name.
    #[arg(long, default_value_t = Backend::Flex.into())]
    pub device: DeviceSpec,
}

impl ModelArguments {
    /// Returns the options that stand for the embedded model on a device.
    pub fn embedded(device: impl Into<DeviceSpec>) -> Self {
        Self { model: None, adapters: Vec::new(), adapter_beside: None, no_bos: false, device: device.into() }
    }

    /// Opens the checkpoint with its adapters. Writes its warnings to standard error.
    pub fn checkpoint(&self) -> Result<Checkpoint, LoadError> {
        let checkpoint = self.model.as_ref().map_or_else(dynlayer_tiny::checkpoint, Checkpoint::open)?;
        let checkpoint = self.adapters.iter().try_fold(checkpoint, Checkpoint::with_adapter)?;
        checkpoint.warnings().iter().for_each(warn);
        Ok(checkpoint)
    }

    /// Puts the adapter that stays beside the weights there, if one was given.
    pub fn adapted(&self, model: Llama) -> Result<Llama, Box<dyn Error>> {
        Ok(match &self.adapter_beside {
            Some(folder) => model.adapted(&Adapter::open(folder, &model)?)?,
            None => model,
        })
    }

    /// Returns the token ids of a text that is no chat, with the special tokens that the tokenizer adds unless
    /// `--no-bos` was given. The text of a chat template has its special tokens already and is encoded without.
    pub fn encode(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
        tokenizer.encode(text, !self.no_bos)
    }

    /// Returns the special token with which texts that are no chats begin, such as `<s>`, if there is one.
    pub fn bos(&self, tokenizer: &Tokenizer) -> Result<Option<u32>, TextError> {
        let (with, without) = (self.encode(tokenizer, TRIED)?, tokenizer.encode(TRIED, false)?);
        Ok(with.first().copied().filter(|first| without.first() != Some(first)))
    }
}

/// Reads a value with spaces around it, such as the second one of `2, 11`. It is the `value_parser` of lists.
pub fn trimmed<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.trim().parse()
}

/// Reads the number of tokens to draft in a round of speculation: `auto`, or a number.
///
/// # Errors
/// A text that says so, if it is neither.
pub fn draft_length(text: &str) -> Result<DraftLength, String> {
    if text == "auto" {
        return Ok(DraftLength::default());
    }
    text.parse().map(DraftLength::Fixed).map_err(|_| "expected auto or a number of tokens".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// The token that [`with_bos`] puts before a text.
    pub(crate) const END: u32 = 0;

    /// The embedded model's tokenizer, but for a special token that it puts before a text.
    pub(crate) fn with_bos() -> Tokenizer {
        let json = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/tiny/assets/tokenizer.json"));
        let mut json: serde_json::Value = serde_json::from_slice(&json.unwrap()).unwrap();
        let end = "<|end|>";
        json["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": end, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {end: {"id": end, "ids": [END], "tokens": [end]}},
        });
        Tokenizer::from_json(json.to_string().as_bytes(), "with a first token").unwrap()
    }

    #[test]
    fn texts_begin_with_what_the_tokenizer_adds() {
        let mut arguments = ModelArguments::embedded(Backend::Flex);
        let (plain, special) = (arguments.checkpoint().unwrap().tokenizer().unwrap(), with_bos());
        let digits = plain.encode("12", false).unwrap();
        assert_eq!(arguments.bos(&plain).unwrap(), None);
        assert_eq!(arguments.encode(&plain, "12").unwrap(), digits);
        assert_eq!(arguments.bos(&special).unwrap(), Some(END));
        assert_eq!(arguments.encode(&special, "12").unwrap(), [vec![END], digits.clone()].concat());
        arguments.no_bos = true;
        assert_eq!(arguments.bos(&special).unwrap(), None);
        assert_eq!(arguments.encode(&special, "12").unwrap(), digits);
    }
}
