//! `SentencePiece` BPE: `tokenizer.ggml.model` is `llama`.
//!
//! `SentencePiece` repeatedly joins the two neighbouring pieces that make the piece with the highest score, the
//! leftmost such pair first. The merges of the equivalent BPE are all pairs of pieces that make a piece, in order of
//! falling score; transformers converts the models in the same way (`SpmConverter`).

use std::cmp::Ordering;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::{Prepend, Sequence as Normalizers};
use tokenizers::{DecoderWrapper, NormalizerWrapper};

use super::checked::{Checked, Kind};
use super::refused;
use crate::text::error::TextErrorKind;

/// The character that stands for a space inside pieces.
const SPACE: &str = "\u{2581}";

/// The length in bytes of the longest piece that is accepted, since the search for its merges takes time quadratic in
/// the length. The longest real pieces, runs of spaces, have some 100 bytes.
const MAX_PIECE_BYTES: usize = 512;

pub(super) fn build(data: &Checked) -> Result<tokenizers::Tokenizer, TextErrorKind> {
    let merges = merges(data)?;
    let vocab = data.ids.iter().map(|(token, id)| (token.clone(), *id)).collect::<Vocab>();
    let mut model =
        BPE::builder().vocab_and_merges(vocab, merges).byte_fallback(data.kinds.contains(&Kind::Byte)).fuse_unk(true);
    if let Some(unk) = data.raw.unk.and_then(|id| data.token(id)) {
        model = model.unk_token(unk.to_owned());
    }
    let mut library = tokenizers::Tokenizer::new(model.build().map_err(refused)?);

    let prefix = data.raw.add_space_prefix.unwrap_or(true);
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ").map_err(refused)?.into(), ByteFallback::new().into(), Fuse::new().into()];
    if prefix {
        normalizers.push(Prepend::new(SPACE.to_owned()).into());
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(refused)?.into());
    library.with_normalizer(Some(Normalizers::new(normalizers))).map_err(refused)?;
    library.with_decoder(Some(Decoders::new(decoders)));
    Ok(library)
}

/// Returns all pairs of pieces that make a piece, highest score first.
fn merges(data: &Checked) -> Result<Vec<(String, String)>, TextErrorKind> {
    let Some(scores) = &data.raw.scores else {
        return Err(TextErrorKind::MissingField {
            field: "tokenizer.ggml.scores",
            expected: "one score per token, because the model is llama",
        });
    };
    // Control, byte and unknown tokens are never made of text, and user-defined tokens are found before the merges.
    let mergeable = |id: u32| matches!(data.kinds.get(id as usize), Some(Kind::Normal | Kind::Unused));
    let piece_id = |piece: &str| data.ids.get(piece).copied().filter(|id| mergeable(*id));

    let mut found: Vec<(f32, &str, &str)> = Vec::new();
    for ((id, piece), score) in (0_u32..).zip(&data.raw.tokens).zip(scores) {
        if !mergeable(id) {
            continue;
        }
        if !score.is_finite() {
            return Err(TextErrorKind::invalid(format!("tokenizer.ggml.scores[{id}]"), score, "a finite number"));
        }
        if piece.len() > MAX_PIECE_BYTES {
            return Err(TextErrorKind::invalid(
                format!("tokenizer.ggml.tokens[{id}]"),
                &format!("a piece of {} bytes", piece.len()),
                format!("at most {MAX_PIECE_BYTES} bytes"),
            ));
        }
        for (split, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(split);
            if piece_id(left).is_some() && piece_id(right).is_some() {
                found.push((*score, left, right));
            }
        }
    }
    // SentencePiece joins pairs of equal score, such as the splits of one piece, from the left. Of two overlapping
    // pairs that make the same piece, the left one tends to have the longer left half.
    found.sort_by(|a, b| {
        b.0.partial_cmp(&a.0)
            .unwrap_or(Ordering::Equal)
            .then_with(|| b.1.len().cmp(&a.1.len()))
            .then_with(|| b.2.len().cmp(&a.2.len()))
    });
    Ok(found.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect())
}

#[cfg(test)]
mod tests;
