//! The pre-tokenizers of byte-level BPE models.
//!
//! Each gives the pieces that llama.cpp gives, and `qwen2` composes characters first, as its `tokenizer.json` does.
//! Where the expression of a `tokenizer.json` and that of llama.cpp differ in effect (`tekken` in letters beyond ASCII,
//! `deepseek-llm` and `deepseek-coder` in spaces beyond ASCII), llama.cpp's counts, since the files are made for it.

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

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Line ends, one by one.
const LINE_ENDS: &str = r"[\r\n]";
/// Runs of letters of scripts with capitals, with a space before them.
const CASED_WORDS: &str = concat!(
    r"\s?[\x{41}-\x{5A}\x{61}-\x{7A}\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}",
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}",
    r"\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}",
    r"\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}",
    r"\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}",
    r"\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}",
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}",
    r"\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}",
    r"\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}",
    r"\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}",
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}",
    r"\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}",
    r"\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+",
);
/// Runs of ASCII's, full-width and some other punctuation, with a space before them.
const PUNCTUATION: &str = r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}\x{3002}]+";
/// Runs of characters of most scripts of Asia and Africa.
const EAST: &str = r"[\x{800}-\x{9FA5}\x{AC00}-\x{D7FF}&&\S]+";

/// The names that an error lists; others that are known are those of models with one of these expressions.
const SUPPORTED: &str = "gpt-2, smollm, qwen2, deepseek-r1-qwen, llama-bpe, falcon3, smaug-bpe, dbrx, \
     tekken, deepseek-llm, deepseek-coder, default; without a tokenizer the model still runs on token ids \
     (`--prompt-ids` in the examples)";

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
    let Some(name) = name else {
        // llama.cpp takes `default` here, and warns that the quality will be degraded.
        return Err(TextErrorKind::MissingField { field: "tokenizer.ggml.pre", expected: SUPPORTED });
    };
    match name {
        "gpt-2" | "phi-2" | "mpt" | "olmo" | "trillion" | "mellum" => Ok(plain(gpt2().into())),
        "smollm" | "starcoder" | "refact" | "codeshell" | "minerva-7b" => {
            let parts = vec![Digits::new(true).into(), gpt2().into()];
            Ok(plain(Sequence::new(parts).into()))
        }
        "qwen2" => Ok(Pre { normalizer: Some(NFC.into()), ..plain(by_regexes(&[QWEN2])?) }),
        "deepseek-r1-qwen" | "megrez" | "kormo" => Ok(plain(by_regexes(&[QWEN2])?)),
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" => {
            Ok(Pre { ignore_merges: true, add_bos: true, ..plain(by_regexes(&[LLAMA3])?) })
        }
        "smaug-bpe" | "dbrx" => Ok(plain(by_regexes(&[LLAMA3])?)),
        "tekken" => Ok(Pre { ignore_merges: true, add_bos: true, ..plain(by_regexes(&[TEKKEN])?) }),
        "deepseek-llm" => Ok(plain(by_regexes(&[LINE_ENDS, CASED_WORDS, PUNCTUATION, r"\s+$", EAST, r"\p{N}+"])?)),
        "deepseek-coder" => Ok(plain(by_regexes(&[LINE_ENDS, r"\s?\p{L}+", r"\s?\p{P}+", EAST, r"\p{N}"])?)),
        "default" => Ok(plain(by_regexes(&[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"])?)),
        other => Err(TextErrorKind::Unsupported {
            field: "tokenizer.ggml.pre",
            found: shorten(&other),
            supported: SUPPORTED,
        }),
    }
}

/// Makes GPT-2's pre-tokenizer, whose expression is built into the library's byte-level step.
fn gpt2() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

/// Makes a pre-tokenizer that applies the expressions one after another, each to the pieces of the one before.
fn by_regexes(expressions: &[&str]) -> Result<PreTokenizerWrapper, TextErrorKind> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::with_capacity(expressions.len() + 1);
    for expression in expressions {
        let pattern = SplitPattern::Regex((*expression).to_owned());
        steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(refused)?.into());
    }
    steps.push(ByteLevel::new(false, false, false).into());
    Ok(Sequence::new(steps).into())
}

#[cfg(test)]
mod tests;
