//! Byte-level BPE: `tokenizer.ggml.model` is `gpt2`.

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;

use super::checked::Checked;
use super::{pre, refused};
use crate::text::error::TextErrorKind;

/// The tokenizer, and whether it starts texts with a token by default.
pub(super) fn build(data: &Checked) -> Result<(tokenizers::Tokenizer, bool), TextErrorKind> {
    let pre = pre::named(data.raw.pre.as_deref())?;
    let merges = merges(data)?;
    let model = BPE::builder()
        .vocab_and_merges(data.ids.iter().map(|(token, id)| (token.clone(), *id)).collect::<Vocab>(), merges)
        .ignore_merges(pre.ignore_merges)
        .build()
        .map_err(refused)?;
    let mut library = tokenizers::Tokenizer::new(model);
    library.with_normalizer(pre.normalizer).map_err(refused)?;
    library.with_pre_tokenizer(Some(pre.split));
    library.with_decoder(Some(ByteLevel::new(false, true, true)));
    Ok((library, pre.add_bos))
}

type Vocab = tokenizers::models::bpe::Vocab;

fn merges(data: &Checked) -> Result<Vec<(String, String)>, TextErrorKind> {
    let Some(lines) = &data.raw.merges else {
        return Err(TextErrorKind::MissingField {
            field: "tokenizer.ggml.merges",
            expected: "a list of merges, as the model is gpt2",
        });
    };
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            // The library copies both halves into a buffer as long as the longest token, so it must not see a bad
            // merge.
            halves(line)
                .filter(|(left, right)| {
                    let known = |token: &str| data.ids.contains_key(token);
                    known(left) && known(right) && known(&format!("{left}{right}"))
                })
                .map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| {
                    TextErrorKind::invalid(
                        format!("tokenizer.ggml.merges[{index}]"),
                        &format!("{line:?}"),
                        "two tokens with a space between, which make a third token",
                    )
                })
        })
        .collect()
}

/// The first character belongs to the left token even if it is a space, as in llama.cpp.
fn halves(line: &str) -> Option<(&str, &str)> {
    let first = line.chars().next()?.len_utf8();
    let space = first + line.get(first..)?.find(' ')?;
    Some((&line[..space], &line[space + 1..]))
}

#[cfg(test)]
mod tests;
