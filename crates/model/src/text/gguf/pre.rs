//! The pre-tokenizers of byte-level BPE models.
//!
//! Each is the pre-tokenizer of the models' `tokenizer.json`, with which the models were trained. llama.cpp does not
//! support case-insensitive groups, and uses equivalent expressions without them.

use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper};

use super::refused;
use crate::files::shorten;
use crate::text::error::TextErrorKind;

const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The treatment of text before the merges of a byte-level BPE.
pub(super) struct Pre {
    pub normalizer: Option<NormalizerWrapper>,
    pub split: PreTokenizerWrapper,
    /// If `true`, a piece that is a token as a whole becomes that token, even if no merges lead to it.
    pub ignore_merges: bool,
    /// The default of `tokenizer.ggml.add_bos_token`.
    pub add_bos: bool,
}

/// Returns the pre-tokenizer that `tokenizer.ggml.pre` names.
pub(super) fn named(name: Option<&str>) -> Result<Pre, TextErrorKind> {
    let plain = |split| Pre { normalizer: None, split, ignore_merges: false, add_bos: false };
    match name {
        Some("gpt-2") => Ok(plain(gpt2().into())),
        Some("smollm") => {
            let parts = vec![Digits::new(true).into(), gpt2().into()];
            Ok(plain(Sequence::new(parts).into()))
        }
        Some("qwen2") => Ok(Pre { normalizer: Some(NFC.into()), ..plain(by_regex(QWEN2)?) }),
        Some("llama-bpe" | "llama3" | "llama-v3") => {
            Ok(Pre { ignore_merges: true, add_bos: true, ..plain(by_regex(LLAMA3)?) })
        }
        Some(other) => Err(TextErrorKind::Unsupported {
            field: "tokenizer.ggml.pre",
            found: shorten(&other),
            supported: "gpt-2, smollm, qwen2, llama-bpe (also called llama3, llama-v3)",
        }),
        // llama.cpp guesses here, and warns that the quality will be degraded.
        None => Err(TextErrorKind::MissingField {
            field: "tokenizer.ggml.pre",
            expected: "one of gpt-2, smollm, qwen2, llama-bpe",
        }),
    }
}

/// Makes GPT-2's pre-tokenizer, whose expression is built into the library's byte-level step.
fn gpt2() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn by_regex(regex: &str) -> Result<PreTokenizerWrapper, TextErrorKind> {
    let split =
        Split::new(SplitPattern::Regex(regex.to_owned()), SplitDelimiterBehavior::Isolated, false).map_err(refused)?;
    Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into())
}

#[cfg(test)]
mod tests;
