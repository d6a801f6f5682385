//! Reading a tokenizer from the metadata of a GGUF file.

use super::LoadError;
use crate::format::{FormatError, FormatErrorKind, GgufFile, GgufMetadata};
use crate::text::{GgufTokenizerData, Tokenizer};

/// Builds the tokenizer that the file's metadata describes.
///
/// # Errors
/// If the file describes no tokenizer, or an invalid or unsupported one.
pub(super) fn tokenizer(file: &GgufFile) -> Result<Tokenizer, LoadError> {
    let meta = file.metadata();
    let optional_id = |name: &str| match GgufMetadata::optional(meta.get_u32(&key(name))) {
        // A number that is no id, such as -1, means that there is no such token.
        Err(error) if matches!(error.kind(), FormatErrorKind::IntegerOutOfRange { .. }) => Ok(None),
        id => id,
    };
    let optional_flag = |name: &str| GgufMetadata::optional(meta.get_bool(&key(name)));
    let data = GgufTokenizerData {
        model: meta.get_str(&key("model"))?.to_owned(),
        pre: GgufMetadata::optional(meta.get_str(&key("pre")))?.map(str::to_owned),
        tokens: copied(meta.get_strings(&key("tokens")))?.unwrap_or_default(),
        token_types: copied(meta.get_i32s(&key("token_type")))?,
        scores: copied(meta.get_f32s(&key("scores")))?,
        merges: copied(meta.get_strings(&key("merges")))?,
        bos: optional_id("bos_token_id")?,
        eos: optional_id("eos_token_id")?,
        unk: optional_id("unknown_token_id")?,
        pad: optional_id("padding_token_id")?,
        add_bos: optional_flag("add_bos_token")?,
        add_eos: optional_flag("add_eos_token")?,
        add_space_prefix: optional_flag("add_space_prefix")?,
        chat_template: GgufMetadata::optional(meta.get_str("tokenizer.chat_template"))?.map(str::to_owned),
    };
    Ok(data.build()?)
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

fn copied<T: Clone>(values: Result<&[T], FormatError>) -> Result<Option<Vec<T>>, FormatError> {
    Ok(GgufMetadata::optional(values)?.map(<[T]>::to_vec))
}
