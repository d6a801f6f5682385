//! Byte-level BPE: `tokenizer.ggml.model` is `gpt2`.

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;

use super::checked::Checked;
use super::{pre, refused};
use crate::text::error::TextErrorKind;

/// Builds the tokenizer, and returns it with the default of `tokenizer.ggml.add_bos_token`.
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
            expected: "a list of merges, because the model is gpt2",
        });
    };
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            // The library copies both halves into a buffer as long as the longest token, so a merge that does not make
            // a token must be refused first.
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
                        "two tokens that make a third token, with a space between them",
                    )
                })
        })
        .collect()
}

/// Splits a merge at its first space. A space as first character belongs to the left token, as in llama.cpp.
fn halves(line: &str) -> Option<(&str, &str)> {
    let first = line.chars().next()?.len_utf8();
    let space = first + line.get(first..)?.find(' ')?;
    Some((&line[..space], &line[space + 1..]))
}

#[cfg(test)]
mod tests;
